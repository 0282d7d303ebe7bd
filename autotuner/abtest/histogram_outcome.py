"""What a slot served, as far as histograms can tell: bounds, for targets without an exposure log.

Rules fixed beforehand, blind to the arm and to what was served, say which slots do not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Histogram, Quantile, Snapshot

FAILED = ("requests_error", "requests_rejected")
ABORTED = "requests_abort"
# Chosen: what is told of less than this share of a slot does not speak for all of it.
_LEAST_COVERED = 0.8


@dataclass(frozen=True)
class Bounds:
    """A value that is known to lie in [low, high]."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        return self.low == self.high


UNKNOWN = Bounds(math.nan, math.nan)


@dataclass(frozen=True)
class HistogramOutcome:
    """A slot from scrapes. `quantiles`: P95s (s) by histogram; `excluded`: why it does not count.

    `attainment` is in 0..1, of all `requests` that ended, failures among them.
    """

    requests: float = 0.0
    failed: float = 0.0
    attainment: Bounds = UNKNOWN
    quantiles: Mapping[str, Quantile] = field(default_factory=dict)
    excluded: str | None = None


def histogram_outcome(
    scrapes: Sequence[Snapshot], start: float, end: float, slo: SLO, min_requests: int
) -> HistogramOutcome:
    """The slot that counts from `start` to `end`, from the scrapes in it, in order of time.

    Not counted: a slot whose scrapes cover less than 80% of it (a hole between two of them loses
    nothing: counters go on), one in which the server was restarted, and one with fewer requests
    than `min_requests`.
    """
    inside = [scrape for scrape in scrapes if start <= scrape.at <= end]
    why = _uncovered(inside, start, end) or _restart(inside)
    if why is not None:
        return HistogramOutcome(excluded=why)
    first, last = inside[0], inside[-1]
    requests = _rise(first, last, "requests")
    failed = sum(_rise(first, last, name) for name in FAILED)
    if not requests >= max(1, min_requests):
        why = f"too few requests ({requests:.0f}, at least {max(1, min_requests)} are needed)"
        return HistogramOutcome(requests, failed, excluded=why)
    alive = (first.gauges.get("running", math.nan), last.gauges.get("running", math.nan))
    deltas = {n: h.minus(first.histograms.get(n, _NONE)) for n, h in last.histograms.items()}
    return HistogramOutcome(
        requests,
        failed,
        _attainment(deltas, _Ended(requests, failed, _rise(first, last, ABORTED)), alive, slo),
        {name: p95(delta) for name, delta in deltas.items() if name.endswith("_s")},
    )


def attainment_bounds(shares: Sequence[Bounds]) -> Bounds:
    """The share that meets ALL targets, from the share that meets each (Fréchet's inequalities).

    max(0, Σ pᵢ − (k − 1)) ≤ p ≤ min pᵢ: how the misses overlap, the shares do not say.
    """
    if not shares or any(math.isnan(share.low) for share in shares):
        return UNKNOWN
    least = math.fsum(share.low for share in shares) - (len(shares) - 1)
    return Bounds(max(0.0, least), min(share.high for share in shares))


def difference_bounds(control: Bounds, treatment: Bounds) -> Bounds:
    """What treatment − control can be."""
    return Bounds(treatment.low - control.high, treatment.high - control.low)


def sure_difference(bounds: Bounds) -> float:
    """The least difference that is sure: the bound nearest to 0, and 0 where the sign is open.

    It turns into its negative when the arms swap, as a test by randomisation needs; NaN for NaN.
    """
    if math.isnan(bounds.low) or math.isnan(bounds.high):
        return math.nan
    return max(bounds.low, 0.0) + min(bounds.high, 0.0)


def quantile_difference(control: Quantile, treatment: Quantile) -> float:
    """Log ratio of two times, positive when the treatment was faster; NaN where nobody knows.

    A quantile in the open last bucket lies somewhere beyond its edge. On one side, the edge stands
    for it: the true difference is larger still. On both sides, there is nothing to compare. (To
    leave such pairs out would spare an arm its worst slots.)
    """
    if control.bucket_limited and treatment.bucket_limited:
        return math.nan
    if not (control.value > 0 and treatment.value > 0):
        return math.nan
    difference = math.log(control.value) - math.log(treatment.value)
    # The edge is the least that the limited side can be: the other one may lie beyond it.
    if treatment.bucket_limited:
        return min(difference, 0.0)
    return max(difference, 0.0) if control.bucket_limited else difference


def p95(delta: Histogram) -> Quantile:
    """The 95% quantile, straight within its bucket; `bucket_limited` in the open last one."""
    if not delta.count > 0:
        return Quantile(math.nan, bucket_limited=False)
    rank, below, edge = 0.95 * delta.count, 0.0, 0.0
    for bound, count in zip(delta.bounds, delta.counts, strict=True):
        if count >= rank:
            if bound == math.inf:
                return Quantile(edge if edge > 0 else math.nan, bucket_limited=True)
            share = (rank - below) / (count - below) if count > below else 0.0
            return Quantile(edge + (bound - edge) * share, bucket_limited=False)
        below, edge = count, bound
    return Quantile(edge, bucket_limited=True)


_NONE = Histogram((), (), 0.0)
_TARGETS = ("ttft_s", "tpot_s", "e2el_s")


def _uncovered(inside: Sequence[Snapshot], start: float, end: float) -> str | None:
    if len(inside) < 2:
        return f"missing scrapes ({len(inside)} in the slot, at least 2 are needed)"
    covered_s = inside[-1].at - inside[0].at
    if covered_s < _LEAST_COVERED * (end - start):
        return f"missing scrapes (they cover {covered_s:.0f} of {end - start:.0f} s)"
    return None


def _restart(inside: Sequence[Snapshot]) -> str | None:
    for before, after in pairwise(inside):
        fell = [n for n, v in before.counters.items() if after.counters.get(n, -math.inf) < v]
        if fell or before.gauges.get("started_at") != after.gauges.get("started_at"):
            return "the target restarted in this slot"
    return None


def _rise(first: Snapshot, last: Snapshot, counter: str) -> float:
    return last.counters.get(counter, 0.0) - first.counters.get(counter, 0.0)


@dataclass(frozen=True)
class _Ended:
    """Requests that ended in a slot, and how many of them failed or were given up by clients."""

    requests: float
    failed: float
    aborted: float

    @property
    def served(self) -> float:
        return self.requests - self.failed - self.aborted


def _attainment(
    deltas: Mapping[str, Histogram], ended: _Ended, alive: tuple[float, float], slo: SLO
) -> Bounds:
    """Of those served the share within every target, then of all that count.

    Whether a client left in time (then the request counts nowhere) or too late (then it missed),
    histograms do not tell. `alive`: requests in flight at the start and at the end.
    """
    shares = []
    if slo.gap_max_s is not None:
        shares.append(_gap_share(deltas, slo.gap_max_s, ended.served, alive))
    for name, target_s in zip(_TARGETS, (slo.ttft_s, slo.tpot_s, slo.e2el_s), strict=True):
        if target_s is not None:
            early = alive if name == "ttft_s" else (0.0, 0.0)
            shares.append(_share_within(deltas.get(name), target_s, ended.served, early))
    if not ended.served > 0:
        return Bounds(0.0, 0.0) if ended.failed > 0 else UNKNOWN
    bounds = attainment_bounds(shares)
    return Bounds(
        bounds.low * ended.served / ended.requests,
        bounds.high * ended.served / (ended.requests - ended.aborted),
    )


def _share_within(
    seen: Histogram | None, target_s: float, served: float, alive: tuple[float, float]
) -> Bounds:
    """The share of the served requests within the target.

    `alive`: in flight at the start and the end. First tokens are counted when they come: one
    that came in the slot may be of a request that ends after it, and the other way round.
    """
    if seen is None or not served > 0 or not all(map(math.isfinite, alive)):
        return UNKNOWN
    sure, possible = _within(seen, target_s)
    return Bounds(
        max(0.0, min(1.0, (sure - alive[1]) / served)),
        max(0.0, min(1.0, (possible + alive[0]) / served)),
    )


def _gap_share(
    deltas: Mapping[str, Histogram], target_s: float, served: float, alive: tuple[float, float]
) -> Bounds:
    """Of requests whose largest gap is within the target; from single gaps where only they are."""
    if "gap_max_s" in deltas:
        # A request of one token has no gap: it is in no bucket, and can't miss.
        seen = deltas["gap_max_s"]
        missing = max(0.0, served - seen.count)
        share = _share_within(seen, target_s, served, (0.0, 0.0))
        return Bounds(
            min(1.0, share.low + missing / served), min(1.0, share.high + missing / served)
        )
    seen_gaps = deltas.get("itl_s")
    if seen_gaps is None or not served > 0 or not all(map(math.isfinite, alive)):
        return UNKNOWN
    sure, possible = _within(seen_gaps, target_s)
    # Each long gap may be another request's; all of them may be one's, or of one alive at an end.
    most, least = seen_gaps.count - sure, seen_gaps.count - possible
    spoiled = 1.0 if least > 0 and not any(alive) else 0.0
    worst = most + alive[0]  # one that was alive at the start may have had its long gap before
    return Bounds(max(0.0, 1 - worst / served), 1 - spoiled / served)


def _within(seen: Histogram, target: float) -> tuple[float, float]:
    """How many lie within the target: those that surely do, and those that may."""
    pairs = list(zip(seen.bounds, seen.counts, strict=True))
    sure = max((count for edge, count in pairs if edge <= target), default=0.0)
    possible = min((count for edge, count in pairs if edge >= target), default=seen.count)
    return sure, possible
