from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.telemetry import Histogram, Snapshot
from autotuner.metrics.window import Bounds, WindowRefusedError, between

EDGES = (0.1, 1.0, math.inf)


def histogram(*counts: float, total: float = 1.0) -> Histogram:
    return Histogram(EDGES, counts, total)


def snapshot(
    at: float,
    requests: float | None = None,
    ttft: Histogram | None = None,
    e2el: Histogram | None = None,
    **gauges: float,
) -> Snapshot:
    histograms = {
        name: seen for name, seen in (("ttft_s", ttft), ("e2el_s", e2el)) if seen is not None
    }
    return Snapshot(at, {} if requests is None else {"requests": requests}, gauges, histograms)


def test_rates_are_per_second_and_gauges_are_the_last() -> None:
    window = between(snapshot(100, 10, running=1.0), snapshot(110, 30, running=4.0))
    assert (window.start, window.end, window.length_s) == (100, 110, 10)
    assert window.requests == 20
    assert window.rates == {"requests": 2.0}
    assert window.gauges == {"running": 4.0}
    assert window.resets == ()


def test_histograms_hold_what_was_seen_in_between() -> None:
    before = snapshot(0, 0, e2el=histogram(1, 2, 2, total=1.0))
    after = snapshot(10, 3, e2el=histogram(2, 4, 5, total=4.0))
    window = between(before, after)
    assert window.histograms["e2el_s"].counts == pytest.approx((1, 2, 3))
    assert window.mean("e2el_s") == pytest.approx(1.0)
    assert window.valid
    assert not window.idle


def test_a_counter_that_fell_is_counted_from_the_restart() -> None:
    before = Snapshot(0, {"requests": 100, "prompt_tokens": 50})
    after = Snapshot(10, {"requests": 8, "prompt_tokens": 60})
    window = between(before, after)
    assert window.resets == ("requests",)
    assert window.requests == 8
    # The process is one: what did not fall is new as well.
    assert window.rates == {"requests": 0.8, "prompt_tokens": 6.0}


def test_a_restart_shows_in_a_bucket_that_fell() -> None:
    before = snapshot(0, e2el=histogram(5, 5, 5))
    after = snapshot(10, e2el=histogram(1, 6, 6, total=3.0))
    window = between(before, after)
    assert window.resets == ("e2el_s",)
    assert window.histograms["e2el_s"].counts == pytest.approx((1, 6, 6))


def test_a_restart_shows_in_the_start_time_and_in_what_vanished() -> None:
    restarted = between(snapshot(0, 5, started_at=1.0), snapshot(10, 9, started_at=4.0))
    assert restarted.resets == ("started_at",)
    assert restarted.requests == 9
    vanished = between(Snapshot(0, {"requests_error": 1}), Snapshot(10, {"requests": 2}))
    assert vanished.resets == ("requests_error",)


def test_a_series_born_in_the_window_counts_from_zero() -> None:
    window = between(snapshot(0), snapshot(10, 4, e2el=histogram(0, 4, 4)))
    assert window.requests == 4
    assert window.histograms["e2el_s"].count == 4
    assert window.resets == ()


def test_nothing_asked_is_idle_and_valid() -> None:
    seen = histogram(1, 2, 2)
    window = between(snapshot(0, 2, seen, seen), snapshot(10, 2, seen, seen))
    assert window.idle
    assert window.valid
    assert math.isnan(window.mean("ttft_s"))


def test_requests_served_without_a_latency_are_invalid() -> None:
    seen = histogram(1, 2, 2)
    window = between(snapshot(0, 2, e2el=seen), snapshot(10, 5, e2el=seen))
    assert not window.idle
    assert not window.valid


def test_a_sum_that_is_not_a_number_is_invalid() -> None:
    after = snapshot(10, 5, e2el=histogram(1, 2, 3, total=math.nan))
    assert not between(snapshot(0, 2, e2el=histogram(1, 2, 2)), after).valid


def test_requests_that_were_turned_away_are_neither_idle_nor_invalid() -> None:
    seen = histogram(1, 2, 2)
    before = Snapshot(0, {"requests": 2, "requests_rejected": 0}, {}, {"e2el_s": seen})
    after = Snapshot(10, {"requests": 9, "requests_rejected": 7}, {}, {"e2el_s": seen})
    window = between(before, after)
    assert not window.idle
    assert window.valid
    assert window.rates["requests_rejected"] == pytest.approx(0.7)


def test_a_request_whose_first_token_came_earlier_is_valid() -> None:
    ttft = histogram(1, 1, 1)
    before = snapshot(0, 0, ttft, histogram(0, 0, 0, total=0))
    after = snapshot(10, 1, ttft, histogram(0, 1, 1))
    window = between(before, after)
    assert window.valid
    assert "ttft_s" not in window.histograms


def test_without_a_request_counter_the_latencies_count() -> None:
    window = between(snapshot(0), snapshot(10, e2el=histogram(1, 2, 3)))
    assert window.requests == 3
    assert math.isnan(between(snapshot(0), snapshot(10)).requests)


@pytest.mark.parametrize("end", [100.0, 99.0, math.nan])
def test_out_of_order_or_empty_windows_are_refused(end: float) -> None:
    with pytest.raises(WindowRefusedError, match="must be the later one"):
        between(snapshot(100, 1), snapshot(end, 2))


def test_old_and_long_windows_are_refused_where_bounded() -> None:
    before, after = snapshot(0, 1), snapshot(100, 2)
    assert between(before, after).length_s == 100
    with pytest.raises(WindowRefusedError, match="100 s apart, more than 50 s"):
        between(before, after, Bounds(max_length_s=50))
    with pytest.raises(WindowRefusedError, match="31 s old, more than 30 s"):
        between(before, after, Bounds(max_age_s=30), now=131)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=8), st.integers(1, 60))
def test_windows_without_a_restart_add_up(growth: list[int], step_s: int) -> None:
    snapshots = [
        snapshot(i * float(step_s), float(sum(growth[: i + 1]))) for i in range(len(growth))
    ]
    parts = [between(a, b) for a, b in pairwise(snapshots)]
    whole = between(snapshots[0], snapshots[-1])
    assert sum(part.requests for part in parts) == pytest.approx(whole.requests)
    assert all(part.resets == () for part in parts)
