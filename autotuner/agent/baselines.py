"""Simple proposers under the agent's interface: what it must beat."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.candidates import Openings, Place, generator, offered
from autotuner.agent.ladder import KNOBS
from autotuner.agent.proposer import ModelProposer
from autotuner.agent.stepmodel import Ints
from autotuner.domain.experiment import Verdict
from autotuner.domain.knob_names import common_name
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import PastTrial, Proposal, ProposalContext

# What vLLM's own tuning script searches: the two knobs that decide most.
STRONGEST = ("max_num_seqs", "max_num_batched_tokens")


class RandomProposer:
    """Any admissible settings within reach of the incumbent, all alike."""

    def propose(self, context: ProposalContext) -> Proposal | None:
        openings = Openings.of(context)
        settings = openings.draw(generator(context)) if openings else None
        if openings is None or settings is None:
            return None
        reason = f"drawn at random from the {openings.size} settings within reach"
        return offered(context, settings, "random", reason, openings.size)


class GridProposer:
    """The full grid of the two strongest knobs, coarse to fine, then each other knob by itself.

    The other knobs stay at the incumbent's levels meanwhile. A point of the grid is visited once,
    whatever the other knobs were then.
    """

    def propose(self, context: ProposalContext) -> Proposal | None:
        openings = Openings.of(context)
        if openings is None:
            return None
        strongest = _strongest(context.space)
        return self._on_the_grid(openings, strongest) or self._alone(openings, strongest)

    def _on_the_grid(self, openings: Openings, strongest: Place) -> Proposal | None:
        context, knobs = openings.context, openings.context.space.knobs
        places = [openings.place(settings) for settings in _visited(context)]
        seen = {tuple(place[k] for k in strongest) for place in places if place is not None}
        grid = _coarse_to_fine([len(knobs[k].levels) for k in strongest])
        for number, point in enumerate(grid, 1):
            settings = openings.at(_put(openings.start, strongest, point))
            if point not in seen and settings is not None:
                names = " and ".join(knobs[k].name for k in strongest)
                where = ", ".join(f"{settings[knobs[k].name]}" for k in strongest)
                reason = f"point {number} of {len(grid)} of the grid over {names}: {where}"
                return offered(context, settings, "grid", reason, len(grid))
        return None

    def _alone(self, openings: Openings, strongest: Place) -> Proposal | None:
        context, visited = openings.context, set(_visited(openings.context))
        for k, knob in enumerate(context.space):
            if k in strongest:
                continue
            for (position,) in _coarse_to_fine([len(knob.levels)]):
                settings = openings.at(_put(openings.start, (k,), (position,)))
                if settings is not None and settings not in visited:
                    reason = f"the grid is done; {knob.name} by itself: {settings[knob.name]}"
                    return offered(context, settings, "grid", reason, len(knob.levels))
        return None


def _strongest(space: KnobSpace) -> Place:
    """The positions in the space of the two knobs to go through first, among those that move."""
    movable = [k for k, knob in enumerate(space) if len(knob.levels) > 1]
    names = [common_name(name) for name in space.names]
    return tuple(sorted(movable, key=lambda k: names[k] not in STRONGEST)[:2])


def _visited(context: ProposalContext) -> Iterator[Settings]:
    """What runs, and what was tried to some end."""
    yield context.incumbent
    for trial in context.past:
        if trial.verdict != Verdict.ABORTED:
            yield from (trial.control, trial.treatment)


def _put(place: Place, knobs: Place, positions: Place) -> Place:
    changed = dict(zip(knobs, positions, strict=True))
    return tuple(changed.get(k, position) for k, position in enumerate(place))


def _coarse_to_fine(counts: list[int]) -> list[Place]:
    """Every place of a grid with so many levels per knob: middles first, then middles of halves."""
    rounds = [_halving_rounds(count) for count in counts]
    places = list(product(*(range(count) for count in counts)))

    def depth(place: Place) -> int:
        return max((r[p] for r, p in zip(rounds, place, strict=True)), default=0)

    return sorted(places, key=depth)


def _halving_rounds(count: int) -> list[int]:
    """In which round of halving each of `count` positions is the middle of its stretch."""
    rounds, stretches = [0] * count, [(0, count, 0)]
    while stretches:
        low, high, depth = stretches.pop()
        if low < high:
            middle = (low + high) // 2
            rounds[middle] = depth
            stretches += [(low, middle, depth + 1), (middle + 1, high, depth + 1)]
    return rounds


class HillClimbProposer:
    """One knob, one level: on in the direction that won last, then neighbours not tried yet.

    Directions that lost elsewhere come last; among equals the order is random.
    """

    def propose(self, context: ProposalContext) -> Proposal | None:
        openings = Openings.of(context)
        if openings is None:
            return None
        rank = _ranks(openings)
        moves = [(knob, step) for knob in context.space for step in (-1, 1)]
        shuffled = [moves[int(i)] for i in generator(context).permutation(len(moves))]
        for knob, step in sorted(shuffled, key=lambda move: -rank.get((move[0].name, move[1]), 0)):
            if settings := openings.moved(**{knob.name: step}):
                reason = _hill_words(context, settings, knob, rank.get((knob.name, step), 0))
                return offered(context, settings, "hill-climb", reason, len(moves))
        return None


def _ranks(openings: Openings) -> dict[tuple[str, int], int]:
    """What the last step of a knob in a direction came to: above 0 where it won (the later, the
    higher), −1 where it lost, nothing where none was made. The way back from a win is a loss.
    """
    rank: dict[tuple[str, int], int] = {}
    for number, trial in enumerate(openings.context.past, 1):
        if trial.verdict == Verdict.ABORTED or (step := _single_step(openings, trial)) is None:
            continue
        name, direction = step
        won = trial.verdict == Verdict.ACCEPTED
        rank[name, direction] = number if won else -1
        if won:
            rank[name, -direction] = -1
    return rank


def _single_step(openings: Openings, trial: PastTrial) -> tuple[str, int] | None:
    """The knob that a trial moved by itself, and the direction; None for any other trial."""
    before, after = openings.place(trial.control), openings.place(trial.treatment)
    if before is None or after is None:
        return None
    names = openings.context.space.names
    steps = [(name, b - a) for name, a, b in zip(names, before, after, strict=True) if a != b]
    return (steps[0][0], 1 if steps[0][1] > 0 else -1) if len(steps) == 1 else None


def _hill_words(context: ProposalContext, settings: Settings, knob: Knob, rank: int) -> str:
    move = f"{knob.name} {context.incumbent[knob.name]} → {settings[knob.name]}"
    if rank > 0:
        return f"{move}: the last step in this direction won"
    tail = ", though a step in this direction lost before" if rank < 0 else ""
    return f"{move}: a neighbour of the incumbent not tried yet{tail}"


class _UniformPolicy:
    """Moves at random: what the model and the screening achieve without a trained policy."""

    def sample(self, observation: NDArray[np.float32], rng: np.random.Generator) -> Ints:
        return rng.integers(-1, 2, (len(observation), KNOBS))


def screened_random(screen: bool = True, min_gain: float = 0.02) -> ModelProposer:
    """The agent's machinery with random walks in place of the policy: the agent's ablation."""
    return ModelProposer(_UniformPolicy(), "screened-random", screen=screen, min_gain=min_gain)
