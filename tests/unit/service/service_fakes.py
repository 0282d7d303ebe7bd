"""Stand-ins for what a reload acts on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from autotuner.service import Job


def job(name: str) -> Job:
    return Job(name, 60.0, lambda _now: None)


class FakeWatch:
    def __init__(self) -> None:
        self.receivers: tuple[str, ...] = ()

    def send_to(self, receivers: tuple[str, ...]) -> None:
        self.receivers = receivers


class FakeDaemon:
    def __init__(self, name: str) -> None:
        self.name, self.watch = name, FakeWatch()


class FakeService:
    """Takes what it is given, and remembers it."""

    leading = None

    def __init__(self) -> None:
        self.daemons: Sequence[Any] = ()
        self.jobs: Sequence[Job] = ()
        self.cycle_s = 0.0
        self.exchanged = 0

    def turn(self, target: str) -> threading.Lock:
        return threading.Lock()

    def exchange(self, daemons: Sequence[Any], jobs: Sequence[Job], cycle_s: float) -> None:
        self.daemons, self.jobs, self.cycle_s = daemons, jobs, cycle_s
        self.exchanged += 1
