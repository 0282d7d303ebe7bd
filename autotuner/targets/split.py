"""Several replicas behind one router as one target of two lanes, each with settings of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from autotuner.domain.errors import (
    StaleGenerationError,
    TargetError,
    TargetUnavailableError,
)
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings, Target
from autotuner.domain.telemetry import Exposure, ExposureBatch, StepRecord
from autotuner.targets.capabilities import Capabilities
from autotuner.targets.replicas import (
    LANES,
    Asked,
    Cursors,
    Generations,
    as_one,
    clock_offsets,
    common_capabilities,
    lane_of,
)


class Replica(Target, Protocol):
    """A target that says what it can do."""

    def capabilities(self) -> Capabilities: ...


class SplitTarget:
    """Implements `domain.ports.LanedTarget`; for one thread at a time.

    The replicas at even places are lane 0, those at odd places lane 1. The generation is the sum
    of theirs; times are on the first replica's clock, by the offsets seen at the last reading.
    A replica that does not answer makes the whole unavailable. `clock`: seconds, any origin.
    """

    def __init__(
        self, replicas: Sequence[Replica], clock: Callable[[], float] = time.monotonic
    ) -> None:
        if len(replicas) < LANES:
            raise ValueError(f"{len(replicas)} replicas: a split needs two or more")
        self._replicas, self._clock = tuple(replicas), clock
        self._generations = Generations()
        self._logs = {log: Cursors(len(replicas)) for log in ("exposures", "steps")}
        self._lives: tuple[LiveSettings, ...] = ()
        self._offsets = (0.0,) * len(replicas)
        self._given: tuple[Settings, ...] | None = None  # None: not known, or not by us

    # ---- domain.ports.LanedTarget
    def read_settings(self) -> LiveSettings:
        """Lane 0's settings; those of a replica that runs other ones than it was given, if any.

        So a change that somebody made on any replica is seen, as on a single worker.
        """
        answers = [self._asked(replica) for replica in self._replicas]
        self._offsets = clock_offsets(answers)
        return self._taken([answer.live for answer in answers])

    def capabilities(self) -> Capabilities:
        """What every replica accepts."""
        return common_capabilities([replica.capabilities() for replica in self._replicas])

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:
        """The same settings on every replica; raises as `apply_lanes` does."""
        return self.apply_lanes((settings,) * LANES, live, reason)

    def apply_lanes(
        self, lanes: Sequence[Settings], live: LiveSettings, reason: str
    ) -> LiveSettings:
        """Apply each lane's settings to its replicas if `live` is still what runs.

        Raises StaleGenerationError or SettingsRefusedError where no replica took them, and
        TargetUnavailableError where only some did, or that is unknown: read back.
        """
        before = self._what_ran(live)
        wanted = [lanes[lane_of(replica)] for replica in range(len(self._replicas))]
        try:
            after = self._in_turn(wanted, before, reason)
        except TargetUnavailableError:
            self._given = None
            raise
        self._given = tuple(wanted)
        return self._taken(after)

    def exposures(self, after: int) -> ExposureBatch:
        """What finished on any replica since the cursor, in the order of its end.

        Each exposure has its lane, the target's generations, and a `seq` of this batch.
        """
        lives, cursors = self._known(), self._logs["exposures"]
        own = zip(self._replicas, cursors.apart(after), strict=True)
        batches = [replica.exposures(cursor) for replica, cursor in own]
        for live, batch in zip(lives, batches, strict=True):
            if batch.boot_id != live.boot_id:
                raise TargetUnavailableError("a replica was restarted since it was last read")
        rows = [
            self._translated(exposure, at)
            for at, batch in enumerate(batches)
            for exposure in batch.exposures
        ]
        in_flight = self._in_flight(batches)
        rows.sort(key=lambda row: row.ended)
        return ExposureBatch(
            boot_id="+".join(batch.boot_id for batch in batches),
            now=max(self.on_first_clock(batch.now, at) for at, batch in enumerate(batches)),
            next=cursors.joined([batch.next for batch in batches]),
            overrun=any(batch.overrun for batch in batches),
            in_flight=_all_lanes(in_flight),
            lanes_in_flight=in_flight,
            exposures=tuple(replace(row, seq=after + at) for at, row in enumerate(rows, start=1)),
        )

    def steps(self, after: int) -> tuple[Sequence[StepRecord], int]:
        """The replicas' steps; those of different replicas overlap in time."""
        self._known()
        cursors = self._logs["steps"]
        own = zip(self._replicas, cursors.apart(after), strict=True)
        pages = [replica.steps(cursor) for replica, cursor in own]
        rows = [
            replace(step, at=self.on_first_clock(step.at, at))
            for at, (page, _) in enumerate(pages)
            for step in page
        ]
        return sorted(rows, key=lambda row: row.at), cursors.joined([end for _, end in pages])

    # ---- for whatever else is asked of single replicas
    def generation_of(self, replica: int, own: int) -> int:
        """The target's generation when `replica` was at its `own`; 0 when that is long ago."""
        return self._generations.of(replica, own)

    def on_first_clock(self, at: float, replica: int) -> float:
        """A time on the clock of `replica` as one on the first replica's."""
        return at - self._offsets[replica]

    # ---- inside
    def _asked(self, replica: Replica) -> Asked:
        before = self._clock()
        live = replica.read_settings()
        return Asked(live, (before + self._clock()) / 2)

    def _taken(self, lives: Sequence[LiveSettings]) -> LiveSettings:
        """What runs now, remembered."""
        booted = [live.boot_id for live in lives] != [live.boot_id for live in self._lives]
        self._lives = tuple(lives)
        if booted:
            self._given = None  # a start brings settings of its own
        generation = self._generations.note(lives)
        return as_one(lives, self._offsets, generation, self._deviating())

    def _in_turn(
        self, wanted: Sequence[Settings], before: Sequence[LiveSettings], reason: str
    ) -> list[LiveSettings]:
        """What each replica runs once it has taken its settings; raises as `apply_lanes` does."""
        after = list(before)
        for taken, at in enumerate(_most_likely_refused_first(wanted, before)):
            try:
                after[at] = self._replicas[at].apply(wanted[at], before[at], reason)
            except TargetError as problem:
                if not taken:
                    raise
                raise TargetUnavailableError(
                    f"replica {at} did not take its settings, {taken} before it did; it is not "
                    f"known what runs: {problem}"
                ) from problem
        return after

    def _deviating(self) -> int:
        """The first replica that does not run what it was given; 0 when all do."""
        if self._given is None:
            return 0
        pairs = enumerate(zip(self._given, self._lives, strict=True))
        return next((at for at, (given, live) in pairs if given.changed_from(live.settings)), 0)

    def _what_ran(self, live: LiveSettings) -> tuple[LiveSettings, ...]:
        """What each replica ran at `live`; raises StaleGenerationError if that is not the last."""
        known = self._known()
        runs = as_one(known, self._offsets, self._generations.note(known), 0)
        if (live.boot_id, live.generation) != (runs.boot_id, runs.generation):
            raise StaleGenerationError(
                f"generation {live.generation} of {live.boot_id} is not the last that was read: "
                f"generation {runs.generation} of {runs.boot_id} is"
            )
        return known

    def _known(self) -> tuple[LiveSettings, ...]:
        if not self._lives:
            self.read_settings()
        return self._lives

    def _translated(self, exposure: Exposure, replica: int) -> Exposure:
        return replace(
            exposure,
            arrival=self.on_first_clock(exposure.arrival, replica),
            generation_start=self._generations.of(replica, exposure.generation_start),
            generation_end=self._generations.of(replica, exposure.generation_end),
            lane=lane_of(replica),
        )

    def _in_flight(self, batches: Sequence[ExposureBatch]) -> tuple[Counter[int], ...]:
        """Unfinished requests of each lane, by the target's generation."""
        found: tuple[Counter[int], ...] = tuple(Counter() for _ in range(LANES))
        for at, batch in enumerate(batches):
            for own, count in batch.in_flight.items():
                found[lane_of(at)][self._generations.of(at, own)] += count
        return found


def _all_lanes(counts: Sequence[Mapping[int, int]]) -> dict[int, int]:
    total: Counter[int] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _most_likely_refused_first(
    wanted: Sequence[Settings], lives: Sequence[LiveSettings]
) -> list[int]:
    """A replica that gets other values may refuse them; asked first, it leaves the rest alone."""
    changes = [
        bool(new.changed_from(live.settings)) for new, live in zip(wanted, lives, strict=True)
    ]
    return sorted(range(len(wanted)), key=lambda at: not changes[at])
