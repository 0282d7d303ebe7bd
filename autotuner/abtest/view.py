"""What a test is shown in one cycle. Times are on the target's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotuner.domain.experiment import Slot
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import Exposure, FeedbackScore, ProbeReading, Reading


@dataclass(frozen=True)
class View:
    """What the caller saw this cycle, and keeps since the experiment's first slot.

    `live`: None when the target did not answer; `unreachable_s` says for how long on the
    caller's clock. `exposures`: all that finished since the first slot. `in_flight`: unfinished
    requests by the generation that admitted them, read together with the exposures, and
    `lanes_in_flight` the same by lane, empty where that is not known. `overrun`:
    records were overwritten before they were read in this cycle. `boot_changed`: the target was
    started anew since the current slot was opened; `restarted_lanes`: where, empty when that is not
    known or it has one lane. `probes`, `feedback` and `readings`: all since
    the first slot, in order of time.
    """

    live: LiveSettings | None
    exposures: tuple[Exposure, ...] = ()
    in_flight: Mapping[int, int] = field(default_factory=dict)
    lanes_in_flight: tuple[Mapping[int, int], ...] = ()
    overrun: bool = False
    boot_changed: bool = False
    restarted_lanes: tuple[int, ...] = ()
    unreachable_s: float = 0.0
    probes: tuple[ProbeReading, ...] = ()
    feedback: tuple[FeedbackScore, ...] = ()
    readings: tuple[Reading, ...] = ()

    def unfinished_of(self, slot: Slot) -> int:
        """Unfinished requests that the slot admitted; its fair share where lanes are not told."""
        if slot.lanes > 1 and self.lanes_in_flight:
            return self.lanes_in_flight[slot.lane].get(slot.generation, 0)
        return (self.in_flight.get(slot.generation, 0) + slot.lane) // slot.lanes

    def drained(self, slot: Slot) -> bool:
        """Whether all requests that the slot admitted have ended, wherever they were."""
        if self.lanes_in_flight:
            return self.unfinished_of(slot) == 0
        return self.in_flight.get(slot.generation, 0) == 0

    def older_in_flight(self, generation: int) -> int:
        """Unfinished requests that were admitted before `generation`."""
        return sum(count for g, count in self.in_flight.items() if g < generation)


def lanes_restarted(before: str, now: str) -> tuple[int, ...]:
    """The lanes in which a replica was started anew between two boot ids; empty where unknown.

    A target of several replicas joins their boot ids with "+": even ones are lane 0, odd ones 1.
    """
    old, new = before.split("+"), now.split("+")
    if len(old) != len(new) or len(new) == 1:
        return ()
    changed = [at % 2 for at, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    return tuple(sorted(set(changed)))
