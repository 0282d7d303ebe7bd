"""A server's metrics with what is told beside it: by its hardware, and by the business."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import structlog

from autotuner.domain.energy import Meter, Metering
from autotuner.domain.errors import TargetError
from autotuner.domain.ports import MetricsSource
from autotuner.domain.telemetry import Snapshot

log = structlog.get_logger()


class JoinedSource:
    """Implements `domain.ports.MetricsSource` over a server and named sources beside it.

    Only the server's failure is a failure. Of a source that fails, the gauges are absent (never
    those of before, never 0), `source_up_NAME` is 0 instead of 1, and it is left alone for
    `retry_s`, so that one that hangs delays few cycles. Its counters are not taken: a source that
    comes and goes would pass for a restart of the server. Of those in `metered` energy is expected:
    where one does not tell it, that is said (None), since the rest would read as a saving. For one
    thread at a time.
    """

    def __init__(
        self,
        server: MetricsSource,
        beside: Mapping[str, MetricsSource],
        retry_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        metered: Collection[str] = (),
    ) -> None:
        self._server, self._metered = server, frozenset(metered)
        self._beside = {name: _Beside(name, source) for name, source in beside.items()}
        self._retry_s, self._clock = retry_s, clock

    def snapshot(self) -> Snapshot:
        """The server's snapshot with all gauges; of two with one name the server's counts.

        Raises as the server's source does.
        """
        seen = self._server.snapshot()
        gauges: dict[str, float] = {}
        energy: dict[str, Meter | None] = {}
        for name, one in self._beside.items():
            told = one.read(self._clock(), self._retry_s)
            gauges[f"source_up_{name}"] = 0.0 if told is None else 1.0
            gauges.update(told.gauges if told is not None else {})
            energy.update(self._metering(name, told))
        return replace(seen, gauges={**gauges, **seen.gauges}, energy={**energy, **seen.energy})

    def _metering(self, name: str, told: Snapshot | None) -> Metering:
        found: Metering = told.energy if told is not None else {}
        return {name: None} if name in self._metered and not found else found


@dataclass
class _Beside:
    name: str
    source: MetricsSource
    again_at: float = field(default=float("-inf"))
    problem: str | None = None

    def read(self, now: float, retry_s: float) -> Snapshot | None:
        """None where it does not answer, or was just found not to."""
        if now < self.again_at:
            return None
        try:
            told = self.source.snapshot()
        except TargetError as problem:
            self.again_at = now + retry_s
            self._say(str(problem))
            return None
        self._say(None)
        return told

    def _say(self, problem: str | None) -> None:
        if (problem is None) != (self.problem is None):
            event = "source.answers" if problem is None else "source.failed"
            log.warning(event, source=self.name, problem=problem)
        self.problem = problem
