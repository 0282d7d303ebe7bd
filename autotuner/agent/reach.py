"""The settings within reach of the incumbent as arrays of level positions.

All knobs of the space count, those too that no simulator knows. It must not know the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from autotuner.agent.candidates import Openings
from autotuner.agent.engine import EngineTable
from autotuner.agent.ladder import SpaceLadder
from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.stepmodel import Bools, Floats, Ints
from autotuner.domain.knob_names import CAPS
from autotuner.domain.knobs import Knob, KnobSpace, Settings

_WIDEST_STEP = 0.25  # of the normalised axis: two levels of a knob of two are not far apart; chosen


@dataclass(frozen=True)
class Reach:
    """Positions per knob of the space: `low` to `high` inclusive are within reach of `start`.

    `ladder`: the space without its bounds on steps, as the simulators reckon with it.
    """

    space: KnobSpace
    incumbent: Settings
    start: Ints
    low: Ints
    high: Ints
    ladder: SpaceLadder

    @classmethod
    def of(cls, openings: Openings) -> Reach:
        context = openings.context
        return cls(
            context.space,
            context.incumbent,
            np.array(openings.start, dtype=np.int64),
            np.array([reach[0] for reach in openings.ranges], dtype=np.int64),
            np.array([reach[-1] for reach in openings.ranges], dtype=np.int64),
            SpaceLadder.of(
                KnobSpace(tuple(replace(knob, max_step=None) for knob in context.space)),
                context.incumbent,
                capped=False,
            ),
        )

    def size(self, moving: Bools) -> int:
        """How many settings there are when only the knobs marked in `moving` may move."""
        return int(np.prod(np.where(moving, self.high - self.low + 1, 1).astype(np.float64)))

    def places(self, moving: Bools, most: int, rng: np.random.Generator) -> Ints:
        """Positions [settings, knob] in the space: the whole grid, or `most` at random of it.

        The incumbent's own place comes first.
        """
        low, high = np.where(moving, self.low, self.start), np.where(moving, self.high, self.start)
        if self.size(moving) <= most:
            axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
            grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        else:
            grid = self._sample(low, high, most, rng)
        return unique_places(np.vstack([self.start[None, :], grid]))

    def _sample(self, low: Ints, high: Ints, most: int, rng: np.random.Generator) -> Ints:
        """Random places, half of them with few knobs moved: good settings are often near."""
        drawn = rng.integers(low, high + 1, (most, len(low)))
        few = rng.random((most, len(low))) < 2.5 / max(1, int((high > low).sum()))
        few[: most // 2] = True
        return np.where(few, drawn, self.start)

    def neighbours(self, knobs: Bools) -> Ints:
        """Places one knob away, for every reachable level of the `knobs`; [settings, knob]."""
        rows = []
        for k in np.flatnonzero(knobs):
            for level in range(int(self.low[k]), int(self.high[k]) + 1):
                if level != self.start[k]:
                    row = self.start.copy()
                    row[k] = level
                    rows.append(row)
        return np.array(rows, dtype=np.int64).reshape(-1, len(self.start))

    def settings(self, place: Sequence[int] | Ints) -> Settings:
        """The settings at these positions; a knob at its start keeps the incumbent's value."""
        values = {
            knob.name: knob.levels[int(at)]
            for knob, at, start in zip(self.space, place, self.start, strict=True)
            if at != start
        }
        return self.incumbent.with_values(**values)

    def axes(self, places: Ints) -> Floats:
        """Positions on axes of length 1 (shorter for knobs of few levels), [settings, knob]."""
        return np.asarray(places * self._scale, dtype=np.float64)

    @cached_property
    def _scale(self) -> Floats:
        tops = [max(len(knob.levels) - 1, 1) for knob in self.space]
        return np.minimum(1 / np.array(tops, dtype=np.float64), _WIDEST_STEP)

    def moves(self, places: Ints) -> Bools:
        """Which knobs differ from the incumbent's, [settings, knob]."""
        return np.asarray(places != self.start)

    def known(self) -> Bools:
        """Which knobs of the space the simulators know, [knob]."""
        names = {n for n, words in zip(self.ladder.names, self.ladder.words, strict=True) if words}
        return np.array([k.name in names or _caps(k) for k in self.space], dtype=np.bool_)

    def schedules(self, places: Ints) -> ScheduleTable:
        """The schedule per place."""
        rows = np.zeros(len(places), dtype=np.int64)
        table = self.ladder.ladder.take(rows).schedules(self._rungs(places))
        seqs = table.max_num_seqs
        for column, knob in enumerate(self.space):
            if _caps(knob):
                limits = np.array([int(level) for level in knob.levels], dtype=np.int64)
                seqs = np.minimum(seqs, limits[places[:, column]])
        return replace(table, max_num_seqs=seqs)

    def engines(self, places: Ints) -> EngineTable:
        """The engine per place."""
        rows = np.zeros(len(places), dtype=np.int64)
        return self.ladder.ladder.take(rows).engines(self._rungs(places))

    def _rungs(self, places: Ints) -> Ints:
        """Positions on the simulators' ladder, [place, agent knob]."""
        rungs = np.tile(self.ladder.start, (len(places), 1))
        for column, knob in enumerate(self.space):
            if knob.name not in self.ladder.names:
                continue
            k = self.ladder.names.index(knob.name)
            if words := self.ladder.words[k]:
                rung_of = np.array([words.index(level) for level in knob.levels])
                rungs[:, k] = rung_of[places[:, column]]
        return rungs


def _caps(knob: Knob) -> bool:
    """Whether the knob bounds what `max_num_seqs` lets run."""
    return knob.name in CAPS and not any(isinstance(level, str) for level in knob.levels)


def unique_places(places: Ints) -> Ints:
    """Different rows only, each where it first stood."""
    _, first = np.unique(places, axis=0, return_index=True)
    return places[np.sort(first)]
