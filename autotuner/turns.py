"""How many slow jobs run at once, and that one which never ends does not stop the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()

OVERDUE_S = 1800.0  # chosen: a fit and a training have time limits far below


class Turns:
    """At most `at_once` holders; one that has held its turn for `overdue_s` no longer counts."""

    def __init__(
        self,
        at_once: int,
        overdue_s: float = OVERDUE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_once, self._overdue_s, self._clock = at_once, overdue_s, clock
        self._changed = threading.Condition()
        self._began: dict[int, tuple[float, str]] = {}  # by ticket
        self._passed: set[int] = set()  # tickets that were told of as overdue
        self._tickets = 0
        self._closed = False

    @contextmanager
    def turn(self, name: str) -> Iterator[bool]:
        """Waits for a turn and holds it; False, without one, after `close`."""
        ticket = self._take(name)
        try:
            yield ticket is not None
        finally:
            with self._changed:
                if ticket is not None:
                    del self._began[ticket]
                    self._passed.discard(ticket)
                self._changed.notify_all()

    def close(self) -> None:
        """Nobody gets a turn any more, those who wait included."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, name: str) -> int | None:
        with self._changed:
            while not self._closed and (wait_s := self._wait_s()) > 0:
                self._changed.wait(wait_s)
            if self._closed:
                return None
            self._tell_of_overdue()
            self._tickets += 1
            self._began[self._tickets] = (self._clock(), name)
            return self._tickets

    def _wait_s(self) -> float:
        """0 where a turn is free; else until a holder is overdue at the earliest."""
        oldest = self._clock() - self._overdue_s
        counting = sorted(began for began, _ in self._began.values() if began > oldest)
        return counting[0] - oldest if len(counting) >= self._at_once else 0.0

    def _tell_of_overdue(self) -> None:
        oldest = self._clock() - self._overdue_s
        for ticket, (began, name) in self._began.items():
            if began <= oldest and ticket not in self._passed:
                self._passed.add(ticket)
                log.warning("job.overdue", job=name, held_s=round(self._clock() - began))
