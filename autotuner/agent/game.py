"""The state of the tuning game: systems, their settings, and what a move does to attainment."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.features import observe
from autotuner.agent.fluid import Prediction, predict
from autotuner.agent.ladder import KNOBS, Ladder, draw_ladder
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.agent.systems import Systems, draw_systems

T = TypeVar("T")

_POOL = 512  # systems drawn at once: drawing few at a time costs as much as drawing many
_PROBES = 8


class Game:
    """Many games side by side; every array's first axis is the game."""

    def __init__(
        self,
        systems: Systems,
        ladder: Ladder,
        positions: Ints,
        forecast_ratio: Floats | None = None,
        *,
        change_cost: float = 0.02,
        noise: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        n = len(systems)
        self.systems, self.ladder, self.positions = systems, ladder, positions
        self.forecast_ratio = np.ones(n) if forecast_ratio is None else forecast_ratio
        self.change_cost, self.noise = change_cost, noise
        self.rng = np.random.default_rng(0) if rng is None else rng
        self.last_move = np.zeros((n, KNOBS), dtype=np.int64)
        self.last_reward = np.zeros(n)
        self.prediction: Prediction = predict(systems, ladder.schedules(positions))
        self._pool: tuple[Systems, Ladder] | None = None
        self._pool_next = 0

    @classmethod
    def random(cls, rng: np.random.Generator, n: int, change_cost: float, noise: float) -> Game:
        """`n` games on systems worth tuning, from random settings, with a drifting load."""
        systems, ladder = _worth_tuning(rng, n)
        return cls(
            systems,
            ladder,
            _draw_start(rng, ladder),
            np.exp(rng.normal(0, 0.2, n)),
            change_cost=change_cost,
            noise=noise,
            rng=rng,
        )

    def observation(self) -> NDArray[np.float32]:
        """What the policy sees, [game, feature]; the attainment in it is noisy."""
        noisy = self.prediction.attainment
        if self.noise > 0:
            noisy = np.clip(noisy + self.rng.normal(0, self.noise, len(noisy)), 0, 1)
        return observe(
            self.systems,
            self.prediction,
            noisy,
            self.ladder,
            self.positions,
            self.last_move,
            self.last_reward,
            self.forecast_ratio,
        )

    def step(self, moves: Ints) -> Floats:
        """Move each knob by −1, 0 or 1 levels; the reward per game."""
        after = self.ladder.move(self.positions, moves)
        self.last_move = after - self.positions
        self.positions = after
        before = self.prediction.attainment
        self.prediction = predict(self.systems, self.ladder.schedules(after))
        changed = (self.last_move != 0).sum(axis=1)
        self.last_reward = self.prediction.attainment - before - self.change_cost * changed
        return self.last_reward

    def restart(self, rows: Ints) -> None:
        """Put new random systems and settings in the given games."""
        n = len(rows)
        if self._pool is None or self._pool_next + n > len(self._pool[0]):
            self._pool, self._pool_next = _worth_tuning(self.rng, max(_POOL, n)), 0
        source = np.arange(self._pool_next, self._pool_next + n)
        self._pool_next += n
        systems, ladder = self._pool[0].take(source), self._pool[1].take(source)
        self.systems = _put(self.systems, systems, rows)
        self.ladder = _put_ladder(self.ladder, ladder, rows)
        self.positions = _put_array(self.positions, _draw_start(self.rng, ladder), rows)
        self.last_move = _put_array(self.last_move, np.zeros((n, KNOBS), np.int64), rows)
        self.last_reward = _put_array(self.last_reward, np.zeros(n), rows)
        ratio = np.exp(self.rng.normal(0, 0.2, n))
        self.forecast_ratio = _put_array(self.forecast_ratio, ratio, rows)
        fresh = predict(systems, self.ladder.take(rows).schedules(self.positions[rows]))
        self.prediction = _put(self.prediction, fresh, rows)


def _draw_start(rng: np.random.Generator, ladder: Ladder) -> Ints:
    """Random positions; a third of the games start where untuned servers stand: all at the top."""
    anywhere = rng.integers(0, ladder.counts)
    top = (ladder.counts - 1) * np.array([1, 0, 1, 0])
    return np.where(rng.random((len(anywhere), 1)) < 1 / 3, top, anywhere)


def _worth_tuning(rng: np.random.Generator, n: int) -> tuple[Systems, Ladder]:
    """Random systems where settings matter: some random settings serve well, some do not.

    One system in ten is kept whatever it is, so that the policy also learns to leave well alone.
    """
    kept: list[tuple[Systems, Ladder]] = []
    count = 0
    while count < n:
        systems, ladder = draw_systems(rng, 2 * n), draw_ladder(rng, 2 * n)
        probes = [
            predict(systems, ladder.schedules(rng.integers(0, ladder.counts))).attainment
            for _ in range(_PROBES)
        ]
        best, worst = np.max(probes, axis=0), np.min(probes, axis=0)
        keep = ((best > 0.4) & (best - worst > 0.1)) | (rng.random(2 * n) < 0.1)
        rows = np.flatnonzero(keep)[: n - count]
        kept.append((systems.take(rows), ladder.take(rows)))
        count += len(rows)
    return _join([s for s, _ in kept]), _join_ladders([ladder for _, ladder in kept])


def _map(value: T, others: list[T], change: Any) -> T:
    """Rebuild a (nested) dataclass of arrays with `change([array, array, …])` at each leaf."""
    if is_dataclass(value):
        parts = {
            f.name: _map(getattr(value, f.name), [getattr(o, f.name) for o in others], change)
            for f in fields(value)
        }
        return replace(value, **parts)  # type: ignore[type-var]
    result: T = change([value, *others])
    return result


def _join(parts: list[T]) -> T:
    return _map(parts[0], parts[1:], np.concatenate)


def _put_array(old: NDArray[Any], new: NDArray[Any], rows: Ints) -> NDArray[Any]:
    changed = old.copy()
    changed[rows] = new
    return changed


def _put(old: T, new: T, rows: Ints) -> T:
    return _map(old, [new], lambda pair: _put_array(pair[0], pair[1], rows))


def _widen(ladder: Ladder, width: int) -> Ladder:
    spare = width - ladder.levels.shape[2]
    return Ladder(np.pad(ladder.levels, ((0, 0), (0, 0), (0, spare)), mode="edge"), ladder.counts)


def _join_ladders(parts: list[Ladder]) -> Ladder:
    width = max(part.levels.shape[2] for part in parts)
    return _join([_widen(part, width) for part in parts])


def _put_ladder(old: Ladder, new: Ladder, rows: Ints) -> Ladder:
    width = max(old.levels.shape[2], new.levels.shape[2])
    return _put(_widen(old, width), _widen(new, width), rows)
