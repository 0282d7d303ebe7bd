"""The demo's own eyes: every finished request from the worker's log, apart from the daemon's."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.ports import Target
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure


@dataclass(frozen=True)
class Figures:
    """What a stretch of time served. Rates per second; NaN where nothing ended."""

    seconds: float
    requests: int
    goodput_rps: float
    attainment: float
    ttft_p95_s: float
    gap_p95_s: float
    e2el_p50_s: float


@dataclass
class Recorder:
    """Collects exposures by polling; times are the worker's clock."""

    target: Target
    slo: SLO
    exposures: list[Exposure] = field(default_factory=list)
    cursor: int = 0
    now: float = 0.0

    def poll(self) -> None:
        """Reads what is new; a worker that does not answer is asked again the next time."""
        try:
            batch = self.target.exposures(self.cursor)
        except TargetUnavailableError:
            return
        self.exposures.extend(batch.exposures)
        self.cursor, self.now = batch.next, batch.now

    def figures(self, *spans: tuple[float, float]) -> Figures:
        """What the requests that arrived in one of the spans [start, end) got."""
        inside = [e for e in self.exposures if any(a <= e.arrival < b for a, b in spans)]
        return figures(inside, self.slo, sum(max(0.0, end - start) for start, end in spans))


def figures(requests: list[Exposure], slo: SLO, seconds: float) -> Figures:
    """Goodput, attainment and exact quantiles of these requests."""
    counted = [e for e in requests if slo.counts(e)]
    good = sum(slo.met_by(e) for e in counted)
    return Figures(
        seconds=seconds,
        requests=len(counted),
        goodput_rps=good / seconds if seconds > 0 else float("nan"),
        attainment=good / len(counted) if counted else float("nan"),
        ttft_p95_s=_quantile([e.ttft_s for e in counted], 95),
        gap_p95_s=_quantile([e.gap_max_s for e in counted], 95),
        e2el_p50_s=_quantile([e.e2el_s for e in counted], 50),
    )


def _quantile(values: list[float | None], percent: float) -> float:
    known = [v for v in values if v is not None]
    return float(np.percentile(known, percent)) if known else float("nan")
