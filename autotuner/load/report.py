"""What a load run says about the server: rates, latencies, attainment. Pure numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autotuner.domain.slo import SLO
from autotuner.load.results import Failure, RequestResult
from autotuner.load.runner import LoadRun

_LATE_S = 0.05  # chosen: half the gap that a strict SLO asks for


@dataclass(frozen=True)
class Distribution:
    """A latency over requests (for ITL: over gaps), seconds. NaN where there is none."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    largest: float


@dataclass(frozen=True)
class Interval:
    """The requests planned in one stretch of time. Rates per second, shares 0..1."""

    start_s: float
    offered_rps: float
    served: int
    good: int
    failed: int
    attainment: float
    ttft_p95_s: float
    gap_max_p95_s: float


@dataclass(frozen=True)
class LoadReport:
    """A run in figures.

    `offered_rps` and `goodput_rps` are per second of the time in which requests were due
    (`sending_s`); `served_rps` and the token rates are per second of the whole run with its tail
    (`span_s`). `attainment` is `good` over `requests`: errors, rejections and client overload
    count against it, cancelled requests do not count at all.
    """

    slo: SLO
    requests: int
    served: int
    good: int
    cancelled: int
    failures: Mapping[str, int]
    sending_s: float
    span_s: float
    offered_rps: float
    served_rps: float
    goodput_rps: float
    attainment: float
    prompt_tokens_per_s: float
    output_tokens_per_s: float
    latencies: Mapping[str, Distribution]
    late_p99_s: float
    stopped: bool
    series: tuple[Interval, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the figures may say more about the client than about the server."""
        found = []
        overload = self.failures.get(Failure.OVERLOAD, 0)
        if overload:
            found.append(
                f"{overload} requests were not sent: too many in flight in the client; "
                "give a higher --max-in-flight"
            )
        if self.late_p99_s > _LATE_S:
            found.append(
                f"the client fell behind its plan (P99 {self.late_p99_s * 1000:.0f} ms): "
                "it needs more processor time, or a lower rate"
            )
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; NaN becomes null."""
        plain: dict[str, Any] = _plain({**asdict(self), "warnings": self.warnings})
        return plain


def summarise(
    run: LoadRun, slo: SLO, planned_s: float | None = None, interval_s: float = 10.0
) -> LoadReport:
    """The report of a run. `planned_s` is the plan's length; else its last request's time."""
    offered = [result for result in run.results if result.counts]
    served = [result for result in offered if result.served]
    good = [result for result in served if slo.met_by(result.exposure())]
    last_s = max((result.at_s for result in offered), default=0.0)
    sending_s = min(planned_s or last_s, run.span_s) if run.stopped else planned_s or last_s
    failures = Counter(str(r.failure) for r in offered if r.failure is not None)
    return LoadReport(
        slo=slo,
        requests=len(offered),
        served=len(served),
        good=len(good),
        cancelled=len(run.results) - len(offered),
        failures=dict(failures.most_common()),
        sending_s=sending_s,
        span_s=run.span_s,
        offered_rps=_per(len(offered), sending_s),
        served_rps=_per(len(served), run.span_s),
        goodput_rps=_per(len(good), sending_s),
        attainment=_per(len(good), len(offered)),
        prompt_tokens_per_s=_per(sum(r.prompt_tokens for r in served), run.span_s),
        output_tokens_per_s=_per(sum(r.output_tokens for r in served), run.span_s),
        latencies=_latencies(served),
        late_p99_s=percentile([r.late_s for r in offered], 99),
        stopped=run.stopped,
        series=_series(offered, slo, interval_s, sending_s),
    )


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile (0..100) with linear interpolation; NaN of nothing."""
    return float(np.percentile(values, q)) if len(values) else math.nan


def distribution(values: Iterable[float | None]) -> Distribution:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        nan = math.nan
        return Distribution(0, nan, nan, nan, nan, nan, nan)
    p50, p90, p95, p99 = np.percentile(known, (50, 90, 95, 99)).tolist()
    mean, largest = float(known.mean()), float(known.max())
    return Distribution(len(known), mean, p50, p90, p95, p99, largest)


def _latencies(served: Sequence[RequestResult]) -> dict[str, Distribution]:
    return {
        "ttft_s": distribution(r.ttft_s for r in served),
        "itl_s": distribution(gap for r in served for gap in r.gaps_s),
        "tpot_s": distribution(r.tpot_s for r in served),
        "e2el_s": distribution(r.e2el_s for r in served),
        "gap_max_s": distribution(r.gap_max_s for r in served),
    }


def _series(
    offered: Sequence[RequestResult], slo: SLO, interval_s: float, until_s: float
) -> tuple[Interval, ...]:
    """One interval after another up to `until_s`, those without a request too."""
    if not interval_s > 0:
        raise ValueError(f"interval_s={interval_s}: give a number above 0")
    count = max(1, math.ceil(until_s / interval_s)) if offered else 0
    rows: list[list[RequestResult]] = [[] for _ in range(count)]
    for result in offered:
        rows[min(int(result.at_s / interval_s), count - 1)].append(result)
    return tuple(
        _interval(index * interval_s, min(interval_s, until_s - index * interval_s), row, slo)
        for index, row in enumerate(rows)
    )


def _interval(start_s: float, length_s: float, row: Sequence[RequestResult], slo: SLO) -> Interval:
    served = [r for r in row if r.served]
    good = sum(slo.met_by(r.exposure()) for r in served)
    return Interval(
        start_s=start_s,
        offered_rps=_per(len(row), length_s),
        served=len(served),
        good=good,
        failed=len(row) - len(served),
        attainment=_per(good, len(row)),
        ttft_p95_s=percentile([r.ttft_s for r in served if r.ttft_s is not None], 95),
        gap_max_p95_s=percentile([r.gap_max_s for r in served if r.gap_max_s is not None], 95),
    )


def _per(amount: float, of: float) -> float:
    return amount / of if of > 0 else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
