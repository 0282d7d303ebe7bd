"""Keeps a process to its share of the machine, by the CPU time that it used. No torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]


@dataclass(frozen=True)
class Clocks:
    """Where times come from, seconds: `wall` and `cpu` (of all threads of the process) only ever
    rise; `epoch` is the date.
    """

    wall: Clock = time.monotonic
    cpu: Clock = time.process_time
    epoch: Clock = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass
class Pacer:
    """Sleeps until the CPU time since the last call is no more than `cores` of the time passed.

    `cores` is a number of cores, fractions too. What was left unused earlier is not saved up: after
    a wait there is no burst.
    """

    cores: float
    clocks: Clocks = field(default_factory=Clocks)

    def __post_init__(self) -> None:
        self._wall, self._cpu = self.clocks.wall(), self.clocks.cpu()

    def pause(self) -> float:
        """Sleeps as long as is owed; returns how long that was, seconds."""
        began = self.clocks.wall()
        used = self.clocks.cpu() - self._cpu
        owed = used / self.cores - (began - self._wall)
        if owed > 0:
            self.clocks.sleep(owed)
        self._wall, self._cpu = self.clocks.wall(), self.clocks.cpu()
        return self._wall - began if owed > 0 else 0.0


def cores_allowed() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0))
