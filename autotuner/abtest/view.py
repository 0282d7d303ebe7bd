"""What a test is shown in one cycle. Times are on the target's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import Exposure


@dataclass(frozen=True)
class View:
    """What the caller saw this cycle, and keeps since the experiment's first slot.

    `live`: None when the target did not answer; `unreachable_s` says for how long on the
    caller's clock. `exposures`: all that finished since the first slot. `in_flight`: unfinished
    requests by the generation that admitted them, read together with the exposures. `overrun`:
    records were overwritten before they were read in this cycle. `boot_changed`: the target was
    started anew since the current slot was opened.
    """

    live: LiveSettings | None
    exposures: tuple[Exposure, ...] = ()
    in_flight: Mapping[int, int] = field(default_factory=dict)
    overrun: bool = False
    boot_changed: bool = False
    unreachable_s: float = 0.0

    def older_in_flight(self, generation: int) -> int:
        """Unfinished requests that were admitted before `generation`."""
        return sum(count for g, count in self.in_flight.items() if g < generation)
