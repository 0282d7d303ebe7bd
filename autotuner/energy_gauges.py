"""Energy as Prometheus metrics: joules by source, and what a token and a request took of late."""

from __future__ import annotations

import math
from collections import defaultdict, deque

from prometheus_client import CollectorRegistry, Counter, Gauge

from autotuner.domain.energy import POWER
from autotuner.domain.telemetry import Window

RECENT_S = 60.0  # chosen: long enough for a few scrapes, short enough to see a change


class EnergyGauges:
    """One set for all targets. Only windows whose energy is known throughout are counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._joules = Counter(
            "autotuner_energy_joules",
            "Energy of the target's devices, idle or not, by source; NAME_power is integrated",
            ["target", "source"],
            registry=registry,
        )
        self._per_token = Gauge(
            "autotuner_energy_joules_per_token",
            "All energy of the last minute over the tokens generated in it",
            ["target"],
            registry=registry,
        )
        self._per_request = Gauge(
            "autotuner_energy_joules_per_request",
            "All energy of the last minute over the requests that ended in it",
            ["target"],
            registry=registry,
        )
        self._recent: dict[str, deque[Window]] = defaultdict(deque)

    def show(self, target: str, window: Window | None) -> None:
        """Adds a window's energy; not-a-number stands for a token or request that nobody served.

        None (no new scrape) changes nothing. A target that nothing measures has no series.
        """
        if window is None or not window.energy:
            return
        for source, joules in window.energy.items():
            if math.isfinite(joules.value):
                name = f"{source}_power" if joules.method == POWER else source
                self._joules.labels(target, name).inc(joules.value)
        recent = self._recent[target]
        if math.isfinite(window.energy_j):
            recent.append(window)
        while recent and recent[0].end <= window.end - RECENT_S:
            recent.popleft()
        self._per_token.labels(target).set(_each(recent, [w.output_tokens for w in recent]))
        self._per_request.labels(target).set(_each(recent, [w.requests for w in recent]))


def _each(windows: deque[Window], served: list[float]) -> float:
    joules, count = math.fsum(w.energy_j for w in windows), math.fsum(served)
    return joules / count if count > 0 else math.nan
