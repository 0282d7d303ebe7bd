"""Random ladders for random machines: knobs and levels as real policies have them. All chosen."""

from __future__ import annotations

import numpy as np

from autotuner.agent.engine import EngineTable
from autotuner.agent.ladder import (
    ATTENTION,
    BUDGET,
    DATA,
    DTYPE,
    KNOBS,
    MEMORY,
    PIPELINE,
    POLICY,
    REBUILDING,
    SEQS,
    TENSOR,
    THREADS,
    TIMEOUT,
    Ladder,
)
from autotuner.agent.machine import MachineTable
from autotuner.agent.stepmodel import Bools, Floats, Ints, log_uniform

_WIDTH = 14
_ENGINE_GAMES = 0.5  # of the games let a knob beyond the four scheduling ones move
_FULL_ATTENTION = 0.85  # of the targets whose attention stands still
_ALL_REBUILD = 0.15  # of the targets can change nothing while they serve


def draw_ladder(rng: np.random.Generator, machines: MachineTable) -> Ladder:
    """A ladder per machine: which knobs move, how many levels they have, between which ends.

    Most games move two to six knobs. A knob that stands still has the reference engine's value.
    """
    n = len(machines)
    levels, counts = np.zeros((n, KNOBS, _WIDTH)), np.ones((n, KNOBS), dtype=np.int64)
    _scheduling(rng, levels, counts)
    _words(rng, levels, counts, machines.reference)
    _placing(rng, levels, counts, machines)
    held = ~_moving(rng, n)
    # A knob held still keeps any one of its levels: settings that nobody tunes are not the best.
    kept = rng.integers(0, counts)
    kept[rng.random(n) < _FULL_ATTENTION, ATTENTION] = 0
    kept[:, list(REBUILDING)] = _reference_at(levels, counts, machines.reference)
    first = levels[np.arange(n)[:, None], np.arange(KNOBS), kept]
    levels = np.where(held[:, :, None], first[:, :, None], levels)
    counts = np.where(held, 1, counts)
    live = np.broadcast_to(~np.isin(np.arange(KNOBS), REBUILDING), (n, KNOBS)).copy()
    live[rng.random(n) < _ALL_REBUILD] = False
    return Ladder(levels, counts, live)


def _moving(rng: np.random.Generator, n: int) -> Bools:
    """Which knobs the policy lets move; the batch size does where it leaves none."""
    chance = np.full(KNOBS, 0.45)
    chance[[SEQS, BUDGET]] = 0.9
    chance[[TIMEOUT, POLICY]] = 0.7
    chance[ATTENTION] = 0.25  # it changes answers: few let it move
    moving = rng.random((n, KNOBS)) < chance
    engine = rng.random(n) < _ENGINE_GAMES
    moving[:, MEMORY:] &= engine[:, None]
    moving[~moving.any(axis=1), SEQS] = True
    return moving


def _scheduling(rng: np.random.Generator, levels: Floats, counts: Ints) -> None:
    n = len(levels)
    levels[:, SEQS], counts[:, SEQS] = _geometric(rng, (1, 8), (16, 256), (3, 10), (n, _WIDTH))
    levels[:, BUDGET], counts[:, BUDGET] = _geometric(
        rng, (16, 96), (192, 8192), (3, 13), (n, _WIDTH)
    )
    # Timeouts begin at 0.
    above, some = _geometric(rng, (1, 5), (10, 100), (1, 6), (n, _WIDTH - 1))
    levels[:, TIMEOUT, 1:] = above
    counts[:, TIMEOUT] = 1 + some
    levels[:, POLICY, 1:] = 1.0
    levels[:, MEMORY, 1:] = 1.0
    counts[:, [POLICY, MEMORY]] = 2


def _words(rng: np.random.Generator, levels: Floats, counts: Ints, reference: EngineTable) -> None:
    """Attention: full and one or two others. Weights: two or all three types, the reference in."""
    n = len(levels)
    other = rng.integers(1, 3, n)
    both = rng.random(n) < 0.5
    levels[:, ATTENTION, 1:] = np.where(both, 1, other)[:, None]
    levels[:, ATTENTION, 2:] = np.where(both, 2, other)[:, None]
    counts[:, ATTENTION] = np.where(both, 3, 2)
    levels[:, DTYPE, :] = np.minimum(np.arange(_WIDTH), 2)
    counts[:, DTYPE] = 3
    two = rng.random(n) < 0.5
    mate = (reference.weight_dtype + rng.integers(1, 3, n)) % 3
    pair = np.sort(np.stack([reference.weight_dtype, mate], axis=1), axis=1)
    levels[two, DTYPE, 0] = pair[two, 0]
    levels[two, DTYPE, 1:] = pair[two, 1:2]
    counts[two, DTYPE] = 2


def _placing(
    rng: np.random.Generator, levels: Floats, counts: Ints, machines: MachineTable
) -> None:
    """Powers of two up to what one knob alone can take of the machine, or fewer."""
    n = len(levels)
    doublings = np.log2(np.maximum(machines.cores, 1)).astype(np.int64)
    for k in (TENSOR, PIPELINE, DATA, THREADS):
        most = np.minimum(doublings, 2) if k == PIPELINE else doublings
        most = np.where(machines.cpu | (k != THREADS), most, 0)
        counts[:, k] = 1 + rng.integers(np.minimum(most, 1), most + 1, n)
        levels[:, k, :] = 2.0 ** np.minimum(np.arange(_WIDTH), counts[:, k, None] - 1)


def _reference_at(levels: Floats, counts: Ints, reference: EngineTable) -> Ints:
    """The positions nearest the reference engine's values of the rebuilding knobs."""
    columns = (
        reference.weight_dtype,
        reference.tensor,
        reference.pipeline,
        reference.data,
        reference.threads,
    )
    wanted = np.stack(columns, axis=1)[:, :, None]
    distance = np.abs(levels[:, list(REBUILDING)] - wanted)
    beyond = np.arange(levels.shape[2]) >= counts[:, list(REBUILDING), None]
    nearest: Ints = np.where(beyond, np.inf, distance).argmin(axis=2)
    return nearest


def _geometric(
    rng: np.random.Generator,
    least: tuple[float, float],
    greatest: tuple[float, float],
    counts: tuple[int, int],
    shape: tuple[int, int],
) -> tuple[Floats, Ints]:
    """Rising whole numbers between random ends, evenly spaced in the logarithm; how many count."""
    n, width = shape
    low, high = log_uniform(rng, least, n), log_uniform(rng, greatest, n)
    count = rng.integers(counts[0], counts[1] + 1, n)
    share = np.minimum(np.arange(width) / np.maximum(count - 1, 1)[:, None], 1.0)
    levels = np.rint(low[:, None] * (high / low)[:, None] ** share)
    for j in range(1, width):
        levels[:, j] = np.maximum(levels[:, j], levels[:, j - 1] + 1)
    return levels, count
