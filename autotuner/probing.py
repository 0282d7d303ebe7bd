"""Runs the quality probe beside the control loop, which a slow answer must not hold up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from autotuner.domain.errors import TargetError
from autotuner.domain.ports import Prober
from autotuner.domain.telemetry import GoldenBlock, ProbeReading

# Chosen: a probe that fails twice in a slot is not tried a third time: it costs the target time.
MAX_FAILURES = 2
Start = Callable[[Callable[[], None]], None]


def in_thread(work: Callable[[], None]) -> None:
    """Starts `work` in a thread that ends with the process."""
    threading.Thread(target=work, name="probe", daemon=True).start()


class Probing:
    """At most one probe at a time. `start` runs a piece of work, now or soon.

    Each generation is probed as often as it is asked for; what came is kept until it is taken.
    """

    def __init__(self, prober: Prober, start: Start = in_thread) -> None:
        self._prober, self._start = prober, start
        self._lock = threading.Lock()
        self._running = False
        self._generation = 0
        self._asked = self._failures = 0
        self._done: list[ProbeReading] = []

    def want(self, generation: int, times: int, block: GoldenBlock | None = None) -> None:
        """Asks for `times` readings of `generation` in all; to be said again in every cycle."""
        with self._lock:
            if generation != self._generation:
                self._generation, self._asked, self._failures = generation, 0, 0
            if self._running or self._asked >= times or self._failures >= MAX_FAILURES:
                return
            self._running = True
            self._asked += 1
        self._start(lambda: self._probe(generation, block))

    def take(self) -> tuple[ProbeReading, ...]:
        """What has come since it was last asked, of whatever generation."""
        with self._lock:
            done, self._done = tuple(self._done), []
        return done

    def _probe(self, generation: int, block: GoldenBlock | None) -> None:
        try:
            reading: ProbeReading | None = self._prober.probe(block)
        except TargetError:
            reading = None  # the guardrail then has no data, and can't pass
        with self._lock:
            self._running = False
            if reading is not None:
                self._done.append(reading)
            elif generation == self._generation:
                self._asked -= 1
                self._failures += 1
