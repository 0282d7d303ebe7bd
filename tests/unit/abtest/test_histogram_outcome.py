"""What histograms can say of a slot, against what really happened in it."""

from __future__ import annotations

import bisect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.abtest.histogram_outcome import (
    Bounds,
    attainment_bounds,
    difference_bounds,
    histogram_outcome,
    p95,
    quantile_difference,
    sure_difference,
)
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Histogram, Quantile, Snapshot

EDGES = (0.1, 0.3, 1.0, math.inf)
TARGETS = SLO(ttft_s=0.3, e2el_s=1.0)


def histogram(values: list[float], edges: tuple[float, ...] = EDGES) -> Histogram:
    ordered = sorted(values)
    counts = tuple(float(bisect.bisect_right(ordered, edge)) for edge in edges)
    return Histogram(edges, counts, sum(values))


def scrape(
    at: float,
    ttfts: list[float],
    e2els: list[float],
    *,
    failed: float = 0,
    aborted: float = 0,
    running: float = 0,
    started_at: float = 1.0,
) -> Snapshot:
    counters = {
        "requests": len(e2els) + failed + aborted,
        "requests_error": failed,
        "requests_abort": aborted,
    }
    histograms = {"ttft_s": histogram(ttfts), "e2el_s": histogram(e2els)}
    return Snapshot(at, counters, {"running": running, "started_at": started_at}, histograms)


def close(bounds: Bounds, low: float, high: float) -> bool:
    return (bounds.low, bounds.high) == pytest.approx((low, high))


@given(st.lists(st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_the_true_attainment_lies_within_the_bounds(times: list[tuple[float, float]]) -> None:
    ttfts, e2els = [t for t, _ in times], [e for _, e in times]
    scrapes = [scrape(0, [], []), scrape(30, ttfts, e2els), scrape(60, ttfts, e2els)]
    seen = histogram_outcome(scrapes, 0, 60, TARGETS, 1)
    truth = np.mean([t <= 0.3 and e <= 1.0 for t, e in times])
    assert seen.excluded is None
    assert seen.attainment.low - 1e-12 <= truth <= seen.attainment.high + 1e-12


def test_one_target_at_a_buckets_edge_is_exact() -> None:
    scrapes = [scrape(0, [], []), scrape(60, [0.2, 0.2, 0.5, 2.0], [1.0] * 4)]
    seen = histogram_outcome(scrapes, 0, 60, SLO(ttft_s=0.3), 1)
    assert seen.attainment == Bounds(0.5, 0.5)
    assert seen.attainment.exact
    between = histogram_outcome(scrapes, 0, 60, SLO(ttft_s=0.7), 1)
    assert between.attainment == Bounds(0.5, 0.75)


def test_two_targets_overlap_in_an_unknown_way() -> None:
    assert close(attainment_bounds([Bounds(0.9, 0.9), Bounds(0.8, 0.8)]), 0.7, 0.8)
    assert attainment_bounds([Bounds(0.3, 0.3), Bounds(0.4, 0.4)]) == Bounds(0.0, 0.3)
    assert math.isnan(attainment_bounds([]).low)


def test_failures_count_against_it_and_lost_clients_are_left_open() -> None:
    start, fine = scrape(0, [], []), [0.2] * 8
    failed = histogram_outcome([start, scrape(60, fine, fine, failed=2)], 0, 60, TARGETS, 1)
    assert (failed.requests, failed.failed) == (10, 2)
    assert failed.attainment == Bounds(0.8, 0.8)
    left = histogram_outcome([start, scrape(60, fine, fine, aborted=2)], 0, 60, TARGETS, 1)
    assert left.attainment == Bounds(0.8, 1.0)
    nobody = histogram_outcome([start, scrape(60, [], [], failed=20)], 0, 60, TARGETS, 1)
    assert nobody.attainment == Bounds(0.0, 0.0)


def test_requests_alive_at_the_edges_widen_the_bounds_of_first_tokens() -> None:
    scrapes = [scrape(0, [], [], running=1), scrape(60, [0.2] * 8 + [0.5] * 2, [0.8] * 10)]
    assert histogram_outcome(scrapes, 0, 60, SLO(ttft_s=0.3), 1).attainment == Bounds(0.8, 0.9)
    scrapes[1] = scrape(60, [0.2] * 8 + [0.5] * 2, [0.8] * 10, running=2)
    bounds = histogram_outcome(scrapes, 0, 60, SLO(ttft_s=0.3), 1).attainment
    assert close(bounds, 0.6, 0.9)


def test_single_gaps_bound_a_request_share_where_the_largest_gap_is_not_told() -> None:
    def at(when: float, gaps: list[float], served: int) -> Snapshot:
        counters, gauges = {"requests": float(served)}, {"running": 0.0}
        return Snapshot(when, counters, gauges, {"itl_s": histogram(gaps)})

    scrapes = [at(0, [], 0), at(60, [0.05] * 96 + [0.5] * 4, 10)]
    seen = histogram_outcome(scrapes, 0, 60, SLO(gap_max_s=0.1), 1)
    assert close(seen.attainment, 0.6, 0.9)


@pytest.mark.parametrize(
    ("scrapes", "told"),
    [
        ([], "missing scrapes (0 in the slot"),
        ([scrape(0, [], [])], "missing scrapes (1 in the slot"),
        ([scrape(0, [], []), scrape(20, [0.2], [0.5])], "missing scrapes (they cover 20 of 60 s)"),
        (
            [scrape(0, [0.2], [0.5]), scrape(60, [0.2] * 9, [0.5] * 9, started_at=2)],
            "the target restarted",
        ),
        ([scrape(0, [0.2], [0.5]), scrape(60, [], [])], "the target restarted"),
        ([scrape(0, [], []), scrape(60, [0.2], [0.5])], "too few requests (1, at least 5"),
    ],
)
def test_slots_that_do_not_count_say_why(scrapes: list[Snapshot], told: str) -> None:
    seen = histogram_outcome(scrapes, 0, 60, TARGETS, 5)
    assert seen.excluded is not None
    assert told in seen.excluded
    assert math.isnan(seen.attainment.low)


def test_a_target_that_the_histograms_lack_is_unknown() -> None:
    scrapes = [scrape(0, [], []), scrape(60, [0.2], [0.5])]
    assert math.isnan(histogram_outcome(scrapes, 0, 60, SLO(tpot_s=0.1), 1).attainment.low)


def test_only_what_is_sure_counts_as_a_difference() -> None:
    apart = difference_bounds(Bounds(0.5, 0.6), Bounds(0.8, 0.9))
    assert sure_difference(apart) == pytest.approx(0.2)
    assert sure_difference(difference_bounds(Bounds(0.8, 0.9), Bounds(0.5, 0.6))) == pytest.approx(
        -0.2
    )
    assert sure_difference(difference_bounds(Bounds(0.5, 0.8), Bounds(0.7, 0.9))) == 0
    assert math.isnan(sure_difference(Bounds(math.nan, 1)))


def test_a_quantile_in_the_open_bucket_counts_as_its_edge_and_never_as_a_gain() -> None:
    known, open_end = Quantile(0.2, bucket_limited=False), Quantile(1.0, bucket_limited=True)
    assert quantile_difference(known, open_end) == pytest.approx(math.log(0.2))
    assert quantile_difference(open_end, known) == pytest.approx(-math.log(0.2))
    assert math.isnan(quantile_difference(open_end, open_end))
    assert math.isnan(quantile_difference(known, Quantile(math.nan, bucket_limited=False)))
    beyond = Quantile(5.0, bucket_limited=False)  # of a server with more buckets
    assert quantile_difference(beyond, open_end) == 0
    assert quantile_difference(open_end, beyond) == 0


def test_p95_is_interpolated_or_limited_by_its_bucket() -> None:
    inside = p95(histogram([0.2] * 10))
    assert inside.value == pytest.approx(0.29)
    assert not inside.bucket_limited
    assert p95(histogram([0.2] * 9 + [7.0])) == Quantile(1.0, bucket_limited=True)
    assert math.isnan(p95(histogram([])).value)
