"""The levels of the four scheduling knobs per environment, and moves on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.agent.schedule import GROUPED, KNOB_NAMES, Schedule, ScheduleTable
from autotuner.agent.stepmodel import Floats, Ints, log_uniform
from autotuner.domain.knobs import KnobSpace, Settings, Value

KNOBS = len(KNOB_NAMES)
SEQS, TIMEOUT, BUDGET, POLICY = range(KNOBS)


@dataclass(frozen=True)
class Ladder:
    """Levels as numbers: `levels` [environment, knob, level] in the knobs' own units (the policy
    as 0 or 1), of which the first `counts` [environment, knob] are real. A knob with one level
    cannot move.
    """

    levels: Floats
    counts: Ints

    def take(self, rows: Ints) -> Ladder:
        return Ladder(self.levels[rows], self.counts[rows])

    def values(self, positions: Ints) -> Floats:
        """The knobs' values [environment, knob] at `positions` [environment, knob]."""
        values: Floats = np.take_along_axis(self.levels, positions[:, :, None], axis=2)[:, :, 0]
        return values

    def schedules(self, positions: Ints) -> ScheduleTable:
        values = self.values(positions)
        return ScheduleTable(
            values[:, SEQS].astype(np.int64),
            values[:, TIMEOUT] / 1000,
            values[:, BUDGET].astype(np.int64),
            values[:, POLICY] > 0,
        )

    def move(self, positions: Ints, steps: Ints) -> Ints:
        """Positions after `steps` in −1, 0, 1 per knob; a step off the ladder does nothing."""
        moved: Ints = np.clip(positions + steps, 0, self.counts - 1)
        return moved


def stack_levels(rows: Sequence[Sequence[Sequence[float]]]) -> Ladder:
    """A ladder from lists of levels per environment and knob."""
    counts = np.array([[len(levels) for levels in row] for row in rows], dtype=np.int64)
    table = np.zeros((len(rows), KNOBS, int(counts.max())))
    for i, row in enumerate(rows):
        for k, levels in enumerate(row):
            table[i, k, : len(levels)] = levels
            table[i, k, len(levels) :] = levels[-1]
    return Ladder(table, counts)


def draw_ladder(rng: np.random.Generator, n: int) -> Ladder:
    """Random ladders: how many levels, how far apart and between which ends is drawn."""
    width = 14
    levels, counts = np.zeros((n, KNOBS, width)), np.ones((n, KNOBS), dtype=np.int64)
    levels[:, SEQS], counts[:, SEQS] = _geometric(rng, (1, 8), (16, 256), (3, 10), (n, width))
    levels[:, BUDGET], counts[:, BUDGET] = _geometric(
        rng, (16, 96), (192, 8192), (3, 13), (n, width)
    )
    # Timeouts begin at 0; some targets have none.
    above, some = _geometric(rng, (1, 5), (10, 100), (1, 6), (n, width - 1))
    levels[:, TIMEOUT, 1:] = above
    counts[:, TIMEOUT] = np.where(rng.random(n) < 0.8, 1 + some, 1)
    levels[:, POLICY, 1] = 1.0
    counts[:, POLICY] = np.where(rng.random(n) < 0.75, 2, 1)
    return Ladder(levels, counts)


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


@dataclass(frozen=True)
class SpaceLadder:
    """A knob space as the agent walks it: the levels within reach of the incumbent.

    Knobs that the agent does not understand stay as they are. `offsets`: the position in the
    space of the ladder's first level, per agent knob.
    """

    space: KnobSpace
    incumbent: Settings
    ladder: Ladder  # one environment
    start: Ints  # [knob], the incumbent's positions
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, space: KnobSpace, incumbent: Settings) -> SpaceLadder:
        """Raises InvalidSettingsError or KeyError when the incumbent does not fit the space."""
        by_name = {knob.name: knob for knob in space}
        rows, start, offsets = [], [], []
        for name in KNOB_NAMES:
            knob = by_name.get(name)
            if knob is None:
                rows.append([_number(name, _default(name))])
                start.append(0)
                offsets.append(0)
                continue
            at = knob.nearest_index(incumbent[name])
            reach = len(knob.levels) if knob.max_step is None else knob.max_step
            low, high = max(0, at - reach), min(len(knob.levels) - 1, at + reach)
            rows.append([_number(name, level) for level in knob.levels[low : high + 1]])
            start.append(at - low)
            offsets.append(low)
        return cls(space, incumbent, stack_levels([rows]), np.array(start), tuple(offsets))

    @property
    def movable(self) -> bool:
        return bool((self.ladder.counts > 1).any())

    def settings(self, positions: Sequence[int]) -> Settings:
        """The settings at these ladder positions; knobs at the start keep the incumbent's value."""
        values: dict[str, Value] = {}
        for k, name in enumerate(KNOB_NAMES):
            if name in self.space.names and positions[k] != self.start[k]:
                knob = next(knob for knob in self.space if knob.name == name)
                values[name] = knob.levels[positions[k] + self.offsets[k]]
        return self.incumbent.with_values(**values)


def _number(name: str, value: Value) -> float:
    return float(value == GROUPED) if name == KNOB_NAMES[POLICY] else float(value)


def _default(name: str) -> Value:
    base = Schedule()
    defaults: Mapping[str, Value] = dict(
        zip(KNOB_NAMES, (base.max_num_seqs, 0, base.max_num_batched_tokens, "fcfs"), strict=True)
    )
    return defaults[name]
