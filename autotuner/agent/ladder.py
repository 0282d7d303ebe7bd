"""The levels of the agent's knobs per environment, and moves on them. It knows no systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.agent.engine import ATTENTIONS, WEIGHT_DTYPES, Engine, EngineTable
from autotuner.agent.schedule import AGENT_KNOBS, GROUPED, Schedule, ScheduleTable
from autotuner.agent.stepmodel import Bools, Floats, Ints
from autotuner.domain.knob_names import CAPS, UNCUT_TOKENS, common_name, in_common_names
from autotuner.domain.knobs import Knob, KnobSpace, Settings, Value

KNOBS = len(AGENT_KNOBS)
(
    SEQS,
    TIMEOUT,
    BUDGET,
    POLICY,
    MEMORY,
    ATTENTION,
    DTYPE,
    TENSOR,
    PIPELINE,
    DATA,
    THREADS,
) = range(KNOBS)
PLACING = (TENSOR, PIPELINE, DATA, THREADS)  # together they take cores or devices
REBUILDING = (DTYPE, *PLACING)  # what the bundled worker can't change while it serves

# Words and switches as numbers, by knob; other knobs' values are numbers already.
_WORDS: Mapping[str, tuple[Value, ...]] = {
    "schedule_policy": ("fcfs", GROUPED),
    "memory_efficient": (False, True),
    "attention": ATTENTIONS,
    "weight_dtype": WEIGHT_DTYPES,
}


@dataclass(frozen=True)
class Ladder:
    """Levels as numbers: `levels` [environment, knob, level] in the knobs' own units (words as
    positions, switches as 0 or 1), of which the first `counts` [environment, knob] are real. A knob
    with one level cannot move. `live` [environment, knob]: changes without a rebuild. The knobs
    are AGENT_KNOBS in their order.
    """

    levels: Floats
    counts: Ints
    live: Bools

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, rows: Ints) -> Ladder:
        return Ladder(self.levels[rows], self.counts[rows], self.live[rows])

    def values(self, positions: Ints) -> Floats:
        """The knobs' values [environment, knob] at `positions` [environment, knob]."""
        environment = np.arange(len(positions))[:, None]
        values: Floats = self.levels[environment, np.arange(KNOBS), positions]
        return values

    def schedules(self, positions: Ints) -> ScheduleTable:
        values = self.values(positions)
        return ScheduleTable(
            values[:, SEQS].astype(np.int64),
            values[:, TIMEOUT] / 1000,
            values[:, BUDGET].astype(np.int64),
            values[:, POLICY] > 0,
            values[:, MEMORY] > 0,
        )

    def engines(self, positions: Ints) -> EngineTable:
        values = self.values(positions).astype(np.int64)
        return EngineTable(*(values[:, k] for k in (ATTENTION, DTYPE, *PLACING)))

    def widened(self, width: int) -> Ladder:
        """The same with room for `width` levels."""
        spare = ((0, 0), (0, 0), (0, width - self.levels.shape[2]))
        return Ladder(np.pad(self.levels, spare, mode="edge"), self.counts, self.live)

    def move(self, positions: Ints, steps: Ints) -> Ints:
        """Positions after `steps` in −1, 0, 1 per knob; a step off the ladder does nothing."""
        moved: Ints = np.clip(positions + steps, 0, self.counts - 1)
        return moved


def stack_levels(
    rows: Sequence[Sequence[Sequence[float]]], live: Sequence[Sequence[bool]] | None = None
) -> Ladder:
    """A ladder from lists of levels per environment and knob; live as the bundled worker's knobs
    are where not told.
    """
    counts = np.array([[len(levels) for levels in row] for row in rows], dtype=np.int64)
    table = np.zeros((len(rows), KNOBS, int(counts.max())))
    for i, row in enumerate(rows):
        for k, levels in enumerate(row):
            table[i, k, : len(levels)] = levels
            table[i, k, len(levels) :] = levels[-1]
    if live is None:
        live = [[k not in REBUILDING for k in range(KNOBS)]] * len(rows)
    return Ladder(table, counts, np.array(live, dtype=np.bool_))


@dataclass(frozen=True)
class SpaceLadder:
    """A knob space as the agent walks it: the levels within reach of the incumbent.

    Knobs of the space that the simulator does not know stay as they are, and so do those with a
    level that it does not know; knobs of the simulator that the space lacks stand still at the
    incumbent's value, or at the default where it has none. Words stand in the simulator's order,
    whatever the policy's. `words`: the knob's own value of each level, per agent knob; empty for a
    knob that stands still. `names`: what each agent knob is called in the space.
    """

    space: KnobSpace
    incumbent: Settings
    ladder: Ladder  # one environment
    start: Ints  # [knob], the incumbent's positions
    words: tuple[tuple[Value, ...], ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, space: KnobSpace, incumbent: Settings, *, capped: bool = True) -> SpaceLadder:
        """Raises InvalidSettingsError or KeyError when the incumbent does not fit the space.

        `capped`: levels beyond what another knob of the incumbent lets run count as that much.
        """
        by_name = _by_common_name(space)
        cap = _cap(incumbent, by_name.get("max_num_seqs")) if capped else np.inf
        rungs = [
            _rungs(name, by_name.get(name), incumbent, cap if k == SEQS else np.inf)
            for k, name in enumerate(AGENT_KNOBS)
        ]
        live = [name not in by_name or by_name[name].live for name in AGENT_KNOBS]
        ladder = stack_levels([[rung.numbers for rung in rungs]], [live])
        start = np.array([rung.at for rung in rungs], dtype=np.int64)
        names = tuple(by_name[name].name if name in by_name else name for name in AGENT_KNOBS)
        return cls(space, incumbent, ladder, start, tuple(rung.words for rung in rungs), names)

    @property
    def movable(self) -> bool:
        return bool((self.ladder.counts > 1).any())

    def settings(self, positions: Sequence[int]) -> Settings:
        """The settings at these ladder positions; knobs at the start keep the incumbent's value."""
        values = {
            name: self.words[k][positions[k]]
            for k, name in enumerate(self.names)
            if positions[k] != self.start[k]
        }
        return self.incumbent.with_values(**values)


@dataclass(frozen=True)
class _Rungs:
    """One knob's levels within reach: as numbers, as the knob's own values, where we stand."""

    numbers: tuple[float, ...]
    words: tuple[Value, ...] = ()
    at: int = 0


def _by_common_name(space: KnobSpace) -> dict[str, Knob]:
    """The space's knobs by common names; without `max_num_seqs` a cap stands for it."""
    named = {common_name(knob.name): knob for knob in space if knob.name not in CAPS}
    caps = [knob for knob in space if knob.name in CAPS]
    return {"max_num_seqs": caps[-1], **named} if caps else named


def _cap(incumbent: Settings, spoken_for: Knob | None) -> float:
    """What the incumbent's caps let run, that knob left out which stands for `max_num_seqs`."""
    own = None if spoken_for is None else spoken_for.name
    caps = [incumbent[name] for name in CAPS if name in incumbent and name != own]
    return min((float(cap) for cap in caps if not isinstance(cap, str)), default=np.inf)


def _rungs(name: str, knob: Knob | None, incumbent: Settings, cap: float) -> _Rungs:
    if knob is None:
        return _Rungs((_fixed(name, in_common_names(incumbent).get(name)),))
    now = incumbent[knob.name]
    at = knob.nearest_index(now)
    reach = len(knob.levels) if knob.max_step is None else knob.max_step
    found = []
    for place in range(max(0, at - reach), min(len(knob.levels), at + reach + 1)):
        number = _number(name, knob.levels[place])
        if number is None:
            return _Rungs((_fixed(name, now),))
        found.append((min(number, cap), place))
    found.sort()
    return _Rungs(
        tuple(number for number, _ in found),
        tuple(knob.levels[place] for _, place in found),
        [place for _, place in found].index(at),
    )


def _number(name: str, value: Value) -> float | None:
    """The value as the simulator reckons with it; None where it does not know it."""
    words = _WORDS.get(name)
    if words is not None:
        return float(words.index(value)) if value in words else None
    if isinstance(value, str):
        return None
    return UNCUT_TOKENS if name == "max_num_batched_tokens" and value < 1 else float(value)


def _fixed(name: str, value: Value | None) -> float:
    """The number of a knob that stands still; the default's where the simulator has none."""
    number = None if value is None else _number(name, value)
    return _defaults()[name] if number is None else number


def _defaults() -> dict[str, float]:
    schedule, engine = Schedule(), Engine()
    values = (
        schedule.max_num_seqs,
        schedule.batch_timeout_s * 1000,
        schedule.max_num_batched_tokens,
        schedule.length_grouped,
        schedule.memory_efficient,
        engine.attention,
        engine.weight_dtype,
        engine.tensor,
        engine.pipeline,
        engine.data,
        engine.threads,
    )
    return {name: float(value) for name, value in zip(AGENT_KNOBS, values, strict=True)}
