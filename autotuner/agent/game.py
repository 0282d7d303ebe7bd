"""The state of the tuning game: systems, their settings, and what a move does to the objective."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.deals import Deal, SystemSource, draw_deal, draw_forecast
from autotuner.agent.features import Scene, observe
from autotuner.agent.fluid import Prediction, predict
from autotuner.agent.ladder import KNOBS, PLACING, Ladder
from autotuner.agent.objective import GoalTable, objective
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.agent.systems import Systems
from autotuner.agent.tables import put
from autotuner.domain.goals import Goal

_POOL = 512  # games dealt at once: dealing few at a time costs as much as dealing many


@dataclass(frozen=True)
class Rules:
    """What moves cost, in the objective's units (0..1), and how the world changes.

    `change_cost`: per knob changed. `restart_weight`: what is lost while a new engine is built,
    counted for the share that the rebuild takes of the horizon; chosen: two engines share the
    machine then. `noise`: the standard deviation of an observed attainment. `drift`: the
    probability per step that the load goes over to the forecast's.
    """

    change_cost: float = 0.02
    restart_weight: float = 0.5
    noise: float = 0.0
    drift: float = 0.0


class Game:
    """Many games side by side; every array's first axis is the game."""

    def __init__(
        self,
        systems: Systems,
        ladder: Ladder,
        positions: Ints,
        forecast_ratio: Floats | None = None,
        *,
        goals: GoalTable | None = None,
        horizon_s: Floats | None = None,
        rules: Rules = Rules(),
        rng: np.random.Generator | None = None,
        source: SystemSource | None = None,
    ) -> None:
        """By default the goal is goodput, the load stays as it is, and rebuilds cost nothing.

        `source`: where `restart` takes systems from; random ones where there is none.
        """
        n = len(systems)
        self._deal = Deal(
            systems,
            ladder,
            positions,
            GoalTable.of([Goal()] * n) if goals is None else goals,
            np.ones(n) if forecast_ratio is None else forecast_ratio,
            np.full(n, np.inf) if horizon_s is None else horizon_s,
        )
        self.rules, self._source = rules, source
        self.rng = np.random.default_rng(0) if rng is None else rng
        self.last_move = np.zeros((n, KNOBS), dtype=np.int64)
        self.last_reward = np.zeros(n)
        self.prediction: Prediction = _predict(self._deal)
        self.objective: Floats = objective(self.prediction, self._deal.goals)
        self._pool: Deal | None = None
        self._pool_next = 0

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        n: int,
        rules: Rules = Rules(),
        source: SystemSource | None = None,
    ) -> Game:
        """`n` games from random settings, on systems worth tuning or on those of `source`."""
        deal = draw_deal(rng, n, source)
        return cls(
            deal.systems,
            deal.ladder,
            deal.positions,
            deal.forecast_ratio,
            goals=deal.goals,
            horizon_s=deal.horizon_s,
            rules=rules,
            rng=rng,
            source=source,
        )

    def __len__(self) -> int:
        return len(self._deal)

    @property
    def systems(self) -> Systems:
        return self._deal.systems

    @property
    def ladder(self) -> Ladder:
        return self._deal.ladder

    @property
    def positions(self) -> Ints:
        return self._deal.positions

    @property
    def goals(self) -> GoalTable:
        return self._deal.goals

    def observation(self) -> NDArray[np.float32]:
        """What the policy sees, [game, feature]; the attainment in it is noisy."""
        noisy = self.prediction.attainment
        if self.rules.noise > 0:
            noisy = np.clip(noisy + self.rng.normal(0, self.rules.noise, len(noisy)), 0, 1)
        deal = self._deal
        return observe(
            Scene(
                deal.systems,
                deal.goals,
                replace(self.prediction, attainment=noisy),
                noisy,
                deal.ladder,
                deal.positions,
                self.last_move,
                self.last_reward,
                deal.forecast_ratio,
                deal.horizon_s,
            )
        )

    def step(self, moves: Ints) -> Floats:
        """Move each knob by −1, 0 or 1 levels; the reward per game.

        The change of the objective, less a cost per knob changed, less a rebuild's cost where one
        of the changed knobs is not live. A move off the ladder does nothing, and neither do moves
        of the parallel sizes and threads to what the machine has no room for.
        """
        deal = self._deal
        after = _placed(deal, deal.ladder.move(deal.positions, moves))
        self.last_move = after - deal.positions
        cost = self._cost(self.last_move)
        self._deal = self._drifted(replace(deal, positions=after))
        before = self.objective
        self._look()
        self.last_reward = self.objective - before - cost
        return self.last_reward

    def restart(self, rows: Ints) -> None:
        """Put new random systems and settings in the given games."""
        n = len(rows)
        if self._pool is None or self._pool_next + n > len(self._pool):
            self._pool = draw_deal(self.rng, max(_POOL, n), self._source)
            self._pool_next = 0
        fresh = self._pool.take(np.arange(self._pool_next, self._pool_next + n))
        self._pool_next += n
        self._deal = self._deal.put(fresh, rows)
        self.last_move = put(self.last_move, np.zeros((n, KNOBS), np.int64), rows)
        self.last_reward = put(self.last_reward, np.zeros(n), rows)
        self.prediction = put(self.prediction, _predict(fresh), rows)
        self.objective = objective(self.prediction, self._deal.goals)

    def _look(self) -> None:
        self.prediction = _predict(self._deal)
        self.objective = objective(self.prediction, self._deal.goals)

    def _cost(self, moved: Ints) -> Floats:
        changed = moved != 0
        rebuilds = (changed & ~self.ladder.live).any(axis=1)
        share = np.minimum(self.systems.machines.rebuild_s / self._deal.horizon_s, 1.0)
        restarts = self.rules.restart_weight * share * rebuilds
        costs: Floats = self.rules.change_cost * changed.sum(axis=1) + restarts
        return costs

    def _drifted(self, deal: Deal) -> Deal:
        """In some games the forecast comes true, and there is another one."""
        if self.rules.drift <= 0:
            return deal
        comes = self.rng.random(len(deal)) < self.rules.drift
        ratio = draw_forecast(self.rng, len(deal))
        rate = deal.systems.rate_rps * np.where(comes, deal.forecast_ratio, 1.0)
        # Away from where the system began a load wanders off without end: it comes back half way.
        ratio = np.where(comes, ratio / np.sqrt(deal.forecast_ratio), deal.forecast_ratio)
        return replace(deal, systems=deal.systems.with_rate(rate), forecast_ratio=ratio)


def _predict(deal: Deal) -> Prediction:
    ladder, at = deal.ladder, deal.positions
    return predict(deal.systems, ladder.schedules(at), ladder.engines(at))


def _placed(deal: Deal, moved: Ints) -> Ints:
    """`moved` with the old parallel sizes and threads where the machine has no room for the new."""
    machines, ladder = deal.systems.machines, deal.ladder
    before = machines.places(ladder.engines(deal.positions))
    over = machines.places(ladder.engines(moved)) > np.maximum(machines.cores, before)
    placed = moved.copy()
    for k in PLACING:
        placed[over, k] = deal.positions[over, k]
    return placed
