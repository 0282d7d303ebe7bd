"""The worlds in which nothing changes: what slots measure there, and the pairs that follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import signal, stats

from autotuner.abtest.eprocess import Floats
from experiments.studies.aa_false_accepts.pairs import (
    Bools,
    Pairs,
    coins,
    crossover,
    plain_split,
    switchback,
)
from experiments.studies.aa_false_accepts.real_noise import Machines, stretches, two_machines

SIGMA = 0.8  # of the log latency of one request
ATTAINED = 0.9  # share of the requests within the SLO, at a load of 1
SLOT_SCALE = 0.1  # of the slot values that are drawn as such
LOAD_SD, LOAD_MEMORY = 0.5, 0.9  # log load of a slot: standard deviation, autocorrelation
SLOWER = (0.02, 0.05)


@dataclass(frozen=True)
class Size:
    """How much is simulated; `batch` tests at a time bound the memory."""

    tests: int
    pairs: int
    requests_per_slot: int
    batch: int = 50

    @property
    def slots(self) -> int:
        return 2 * self.pairs


@dataclass(frozen=True)
class World:
    """Many A/A tests of one scenario and outcome. `claimed`: at most 5% of them may be accepted.

    `covariates`: the pairs' log ratios of the offered load, shape (tests, pairs, 1).
    """

    scenario: str
    design: str
    outcome: str
    pairs: Pairs
    claimed: bool = True
    covariates: Floats | None = None


def worlds(seed: int, size: Size, benchmarks: list[Machines]) -> Iterator[World]:
    """One at a time, each from a random stream of its own; without `benchmarks` no real noise."""
    makers: list[Callable[[np.random.Generator, Size], Iterator[World]]] = [
        *(partial(_autocorrelated, phi=phi) for phi in (0.0, 0.9, 0.99)),
        _load_drift,
        partial(_heavy_tailed, name="t(2)", df=2),
        partial(_heavy_tailed, name="Cauchy", df=1),
        partial(_real, benchmarks=benchmarks),
        _two_machines,
        partial(_two_real_machines, benchmarks=benchmarks),
    ]
    for index, make in enumerate(makers):
        yield from make(np.random.default_rng([seed, index]), size)


def _autocorrelated(rng: np.random.Generator, size: Size, phi: float) -> Iterator[World]:
    treatment_first = coins(rng, size.tests, size.pairs)
    outcomes = _slot_outcomes(rng, phi, np.zeros((size.tests, size.slots)), size)
    for outcome, slots in outcomes.items():
        pairs = switchback(slots, treatment_first)
        yield World(f"lognormal, autocorrelation {phi:g}", "switchback", outcome, pairs)


def _load_drift(rng: np.random.Generator, size: Size) -> Iterator[World]:
    """Latency rises with a load that drifts; the load is seen as the number of requests sent."""
    treatment_first = coins(rng, size.tests, size.pairs)
    load = LOAD_SD * _stationary(rng, LOAD_MEMORY, (size.tests, size.slots))
    sent = rng.poisson(size.requests_per_slot * np.exp(load))
    offered = switchback(np.log(np.maximum(sent, 1)), treatment_first)
    for outcome, slots in _slot_outcomes(rng, 0.9, load, size).items():
        yield World(
            "load drift",
            "switchback",
            outcome,
            switchback(slots, treatment_first),
            covariates=offered.differences[..., None],
        )


def _heavy_tailed(rng: np.random.Generator, size: Size, name: str, df: int) -> Iterator[World]:
    slots = SLOT_SCALE * rng.standard_t(df, (size.tests, size.slots))
    pairs = switchback(slots, coins(rng, size.tests, size.pairs))
    yield World(f"{name} noise", "switchback", "slot value", pairs)


def _real(rng: np.random.Generator, size: Size, benchmarks: list[Machines]) -> Iterator[World]:
    if benchmarks:
        slots = stretches(rng, benchmarks, size.tests, size.slots)
        pairs = switchback(slots, coins(rng, size.tests, size.pairs))
        yield World("real machines' noise", "switchback", "log benchmark", pairs)


def _two_machines(rng: np.random.Generator, size: Size) -> Iterator[World]:
    treatment_first = coins(rng, size.tests, size.pairs)
    level = np.zeros((size.tests, size.slots))
    first, second = (_slot_outcomes(rng, 0, level, size)["log latency"] for _ in range(2))
    for slower in SLOWER:
        lanes = (first, second - math.log1p(slower))
        name = f"two machines, one {slower:.0%} slower"
        yield from _both_splits(name, "log latency", lanes, treatment_first)


def _two_real_machines(
    rng: np.random.Generator, size: Size, benchmarks: list[Machines]
) -> Iterator[World]:
    if benchmarks:
        lanes = two_machines(rng, benchmarks, size.tests, size.slots)
        treatment_first = coins(rng, size.tests, size.pairs)
        yield from _both_splits("two real machines", "log benchmark", lanes, treatment_first)


def _both_splits(
    name: str, outcome: str, lanes: tuple[Floats, Floats], treatment_first: Bools
) -> Iterator[World]:
    yield World(name, "split", outcome, crossover(lanes, treatment_first))
    plain = plain_split(lanes, treatment_first)
    yield World(name, "plain split", outcome, plain, claimed=False)


def _slot_outcomes(
    rng: np.random.Generator, phi: float, load: Floats, size: Size
) -> dict[str, Floats]:
    """Per slot, shape (tests, slots), by outcome; higher is better.

    The log latencies are one AR(1) stream a test plus the slot's log load.
    """
    attained, latency = np.empty_like(load), np.empty_like(load)
    limit = SIGMA * stats.norm.ppf(ATTAINED)
    for start in range(0, size.tests, size.batch):
        chosen = slice(start, start + size.batch)
        level = load[chosen]
        stream = _stationary(rng, phi, (len(level), size.slots * size.requests_per_slot))
        log_latencies = SIGMA * stream.reshape(*level.shape, -1) + level[..., None]
        attained[chosen] = (log_latencies <= limit).mean(axis=2)
        latency[chosen] = -np.log(np.exp(log_latencies).mean(axis=2))
    return {"attainment": attained, "log latency": latency}


def _stationary(rng: np.random.Generator, phi: float, shape: tuple[int, int]) -> Floats:
    """AR(1) streams of variance 1, one a row, that start in their stationary state."""
    noise = rng.standard_normal(shape)
    if phi == 0:
        return noise
    noise[:, 1:] *= math.sqrt(1 - phi * phi)
    stream: Floats = signal.lfilter([1.0], [1.0, -phi], noise, axis=1)
    return stream
