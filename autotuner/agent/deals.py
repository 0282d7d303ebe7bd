"""What random games begin with: systems, what may move, a goal, how long the workload stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from autotuner.agent.fluid import predict
from autotuner.agent.ladder import BUDGET, KNOBS, PLACING, SEQS, Ladder
from autotuner.agent.objective import KINDS, GoalTable, objective
from autotuner.agent.random_ladders import draw_ladder
from autotuner.agent.stepmodel import Floats, Ints, log_uniform
from autotuner.agent.systems import Systems, draw_systems
from autotuner.agent.tables import join, put

_PROBES = 8
_GOODPUT_SHARE = 0.7  # of the games; the others share the goals that save; chosen
_FLOORS = (0.8, 0.99)
_HORIZON_S = (60.0, 86_400.0)  # chosen: from a burst to a day

# Draws that many systems with the ladders that they are tuned on.
SystemSource = Callable[[np.random.Generator, int], tuple[Systems, Ladder]]


@dataclass(frozen=True)
class Deal:
    """Where games stand: every array's first axis is the game.

    `forecast_ratio`: the rate to come over the present one. `horizon_s`: for how long the workload
    stays; what a rebuild costs is held against it.
    """

    systems: Systems
    ladder: Ladder
    positions: Ints
    goals: GoalTable
    forecast_ratio: Floats
    horizon_s: Floats

    def __len__(self) -> int:
        return len(self.systems)

    def take(self, rows: Ints) -> Deal:
        return Deal(
            self.systems.take(rows),
            self.ladder.take(rows),
            self.positions[rows],
            self.goals.take(rows),
            self.forecast_ratio[rows],
            self.horizon_s[rows],
        )

    def put(self, new: Deal, rows: Ints) -> Deal:
        """With the games `rows` replaced by `new`'s."""
        width = max(self.ladder.levels.shape[2], new.ladder.levels.shape[2])
        return put(self._widened(width), new._widened(width), rows)

    def _widened(self, width: int) -> Deal:
        return replace(self, ladder=self.ladder.widened(width))


def draw_deal(rng: np.random.Generator, n: int, source: SystemSource | None = None) -> Deal:
    """`n` games from random settings, on systems worth tuning or on those of `source`."""
    found = _worth_tuning(rng, n) if source is None else _given(rng, n, source)
    return Deal(
        found.systems,
        found.ladder,
        possible(found.systems, found.ladder, _draw_start(rng, found.ladder)),
        found.goals,
        draw_forecast(rng, n),
        log_uniform(rng, _HORIZON_S, n),
    )


def draw_forecast(rng: np.random.Generator, n: int) -> Floats:
    """Rates to come over the present ones."""
    return np.exp(rng.normal(0, 0.25, n))


def draw_goals(rng: np.random.Generator, n: int) -> GoalTable:
    saving = rng.random(n) >= _GOODPUT_SHARE
    kind = np.where(saving, rng.integers(1, len(KINDS), n), 0)
    return GoalTable(kind, rng.uniform(*_FLOORS, n))


def possible(systems: Systems, ladder: Ladder, positions: Ints) -> Ints:
    """The positions, with the parallel sizes and threads at their least where the machine can't
    place them.
    """
    machines = systems.machines
    over = machines.places(ladder.engines(positions)) > machines.cores
    fitting = positions.copy()
    for k in PLACING:
        fitting[over, k] = 0
    return fitting


def _draw_start(rng: np.random.Generator, ladder: Ladder) -> Ints:
    """Random positions; in a third of the games batch size and budget stand at the top and all
    else at the bottom, as on untuned servers.
    """
    anywhere = rng.integers(0, ladder.counts)
    at_top = np.isin(np.arange(KNOBS), (SEQS, BUDGET))
    untuned = np.where(at_top, ladder.counts - 1, 0)
    return np.where(rng.random((len(anywhere), 1)) < 1 / 3, untuned, anywhere)


@dataclass(frozen=True)
class _Found:
    systems: Systems
    ladder: Ladder
    goals: GoalTable

    def take(self, rows: Ints) -> _Found:
        return _Found(self.systems.take(rows), self.ladder.take(rows), self.goals.take(rows))


def _given(rng: np.random.Generator, n: int, source: SystemSource) -> _Found:
    systems, ladder = source(rng, n)
    return _Found(systems, ladder, draw_goals(rng, n))


def _worth_tuning(rng: np.random.Generator, n: int) -> _Found:
    """Random systems where settings matter: some random settings serve well, some do not.

    One system in ten is kept whatever it is, so that the policy also learns to leave well alone.
    """
    kept: list[_Found] = []
    count = 0
    while count < n:
        systems, goals = draw_systems(rng, 2 * n), draw_goals(rng, 2 * n)
        found = _Found(systems, draw_ladder(rng, systems.machines), goals)
        best, spread = _probe(rng, found)
        keep = ((best > 0.4) & (spread > 0.1)) | (rng.random(2 * n) < 0.1)
        kept.append(found.take(np.flatnonzero(keep)[: n - count]))
        count += len(kept[-1].goals)
    return join(kept)


def _probe(rng: np.random.Generator, found: _Found) -> tuple[Floats, Floats]:
    """The best of some random settings and how far the worst lies below it, in the objective."""
    systems, ladder = found.systems, found.ladder
    worth = []
    for _ in range(_PROBES):
        at = possible(systems, ladder, rng.integers(0, ladder.counts))
        prediction = predict(systems, ladder.schedules(at), ladder.engines(at))
        worth.append(objective(prediction, found.goals))
    best: Floats = np.max(worth, axis=0)
    return best, best - np.min(worth, axis=0)
