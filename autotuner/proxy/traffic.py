"""The requests that pass: who is in flight, where the next one goes, and what became of each.

It does no I/O. Must be used from one event loop.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from autotuner.fronts.exposures import Exposure, Outcome
from autotuner.fronts.feedback import FeedbackLog
from autotuner.fronts.ring import Ring
from autotuner.proxy.admission import Admission
from autotuner.proxy.lengths import PromptLengths
from autotuner.proxy.life import Life
from autotuner.proxy.metrics import ProxyMetrics
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.pool import Pool
from autotuner.proxy.ports import Backend
from autotuner.proxy.reading import Usage


@dataclass(frozen=True)
class Clocks:
    """Wall clock for records, monotonic clock for durations (s)."""

    wall: Callable[[], float] = time.time
    mono: Callable[[], float] = time.monotonic


class Traffic:
    """Implements `ports.InFlight`. `generation` is that of the settings in force; who changes those
    sets it.
    """

    def __init__(self, options: ProxyOptions, backends: Sequence[Backend], clocks: Clocks) -> None:
        self.options, self.clocks = options, clocks
        self.admission = Admission(options.max_concurrency, options.max_queue, options.hold_limit)
        self.pool = Pool(backends, options.weights, clocks.mono)
        self.metrics = ProxyMetrics(lambda: self.admission.running, lambda: self.admission.waiting)
        self.generation = 1
        self._lives: dict[int, Life] = {}
        self._lengths = PromptLengths()
        self.exposures: Ring[Exposure] = Ring(options.exposure_ring)
        self.feedback = FeedbackLog(self._exposure_of, clocks.wall, self.metrics)

    def new_boot(self) -> None:
        """The logs begin anew: their cursors belong to one boot."""
        self.exposures = Ring(self.options.exposure_ring)
        self.feedback.clear()

    def in_flight_by_generation(self) -> dict[str, int]:
        counts = Counter(life.generation for life in self._lives.values())
        return {str(generation): count for generation, count in sorted(counts.items())}

    @asynccontextmanager
    async def hold(
        self, enough: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Sends nothing more to the server; entered when what is there has ended, or had time."""
        async with self.admission.hold(self.options.drain_s, enough):
            yield

    def silent_s(self, backend: Backend) -> float:
        return self.pool.silent_s(backend)

    # ---- one request
    def arrived(self) -> Life:
        life = Life(
            f"req-{uuid.uuid4().hex}", self.generation, self.clocks.wall(), self.clocks.mono()
        )
        self._lives[id(life)] = life
        return life

    def admitted(self, life: Life) -> None:
        life.admitted(self.generation, self.clocks.mono())

    def content(self, life: Life) -> None:
        """An event with content came, now."""
        gap_s = life.content(self.clocks.mono())
        self.metrics.event()
        if gap_s is not None:
            self.metrics.gap(gap_s)
        elif life.ttft_s is not None:
            self.metrics.first_token(life.ttft_s)

    def whole(self, life: Life) -> None:
        """The answer came in one piece, now."""
        life.whole(self.clocks.mono())
        if life.ttft_s is not None:
            self.metrics.first_token(life.ttft_s)

    def ended(self, life: Life, outcome: Outcome, usage: Usage | None = None) -> None:
        """Keeps its exposure; only the first word on a request counts."""
        if self._lives.pop(id(life), None) is None:
            return
        if usage is not None:
            self._lengths.learn(life.prompt_chars, usage.prompt_tokens)
        guess = self._lengths.guess(life.prompt_chars)
        exposure = life.ended(outcome, self.generation, self.clocks.mono(), usage, guess)
        self.exposures.append(exposure)
        guessed = usage is None and life.prompt_tokens is None
        self.metrics.ended(exposure, life.events, guessed=guessed)

    def dropped(self, life: Life) -> None:
        """It was no request that a server can serve: the client's own fault, so no exposure."""
        self._lives.pop(id(life), None)

    def _exposure_of(self, request_id: str) -> Exposure | None:
        return next((e for e in reversed(self.exposures) if e.id == request_id), None)
