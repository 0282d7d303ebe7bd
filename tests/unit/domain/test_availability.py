"""What counts as failed, and that windows of a ledger are what a count of all requests says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.availability import (
    FINE_S,
    HOUR_S,
    MINUTE_S,
    NOTHING,
    Ledger,
    Tally,
    by_counters,
    failed,
    tallied,
)
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome, Window

NOW = 1_764_000_000.0 + 1234.5
DAY_S = 86400.0
SERVED = Exposure(1, "r", 1, 1, 0.0, 0.0, 0.2, 0.01, 0.02, 1.0, 10, 10, Outcome.STOP)

ended = st.tuples(
    st.floats(0, 40 * DAY_S), st.integers(0, 50), st.integers(0, 50), st.floats(0, 20)
).map(lambda drawn: (NOW - drawn[0], Tally(drawn[1] + drawn[2], drawn[2], drawn[3])))


def aborted(after_s: float, ttft_s: float | None = None) -> Exposure:
    return replace(SERVED, outcome=Outcome.ABORT, e2el_s=after_s, ttft_s=ttft_s)


@pytest.mark.parametrize(
    ("request_", "counts"),
    [
        (SERVED, False),
        (replace(SERVED, outcome=Outcome.LENGTH, e2el_s=99.0), False),  # slow, and yet served
        (replace(SERVED, outcome=Outcome.ERROR), True),
        (replace(SERVED, outcome=Outcome.REJECTED), True),
        (aborted(1.6), True),  # waited longer than TTFT, and got nothing
        (aborted(1.4), None),
        (aborted(9.0, ttft_s=1.0), None),  # was being served when its client left
    ],
)
def test_what_counts_as_failed(request_: Exposure, counts: bool | None) -> None:
    assert failed(request_, SLO(ttft_s=1.5)) is counts


def test_without_a_ttft_the_whole_request_s_time_says_when_waiting_was_in_vain() -> None:
    assert failed(aborted(5.0), SLO(e2el_s=4.0)) is True
    assert failed(aborted(3.0), SLO(e2el_s=4.0)) is None
    assert failed(aborted(99.0), SLO(gap_max_s=0.1)) is None
    rows = [SERVED, aborted(5.0), aborted(3.0), replace(SERVED, outcome=Outcome.ERROR)]
    assert tallied(rows, SLO(e2el_s=4.0)) == Tally(3, 2)


def test_counters_leave_out_what_clients_gave_up() -> None:
    rates = {"requests_error": 0.3, "requests_rejected": 0.2, "requests_abort": 0.1}
    window = Window(NOW - 10, NOW, 100.0, rates)
    assert by_counters(window) == Tally(99.0, 5.0)
    assert by_counters(replace(window, requests=float("nan"))) is None


def brute(events: list[tuple[float, Tally]], now: float, length_s: float) -> Tally:
    """The sum over all that ended from the start of the window's first bucket on."""
    width = MINUTE_S if length_s <= FINE_S else HOUR_S
    first = (now - length_s) // width * width
    total = NOTHING
    for at, tally in events:
        total = total + tally if first <= at <= now else total
    return total


@given(st.lists(ended, max_size=30), st.sampled_from([300, 1800, HOUR_S, FINE_S, 3 * DAY_S]))
def test_a_window_is_what_a_count_of_all_requests_says(
    events: list[tuple[float, Tally]], length_s: float
) -> None:
    ledger = Ledger(30 * DAY_S)
    for at, tally in events:
        ledger.add(at, tally)
    ledger.forget(NOW)
    for window_s in (length_s, 30 * DAY_S):
        seen, counted = ledger.window(NOW, window_s), brute(events, NOW, window_s)
        assert (seen.requests, seen.failed) == (counted.requests, counted.failed)
        assert seen.lost == pytest.approx(counted.lost)


@given(st.lists(ended, max_size=20))
def test_what_is_restored_from_its_samples_counts_the_same(
    events: list[tuple[float, Tally]],
) -> None:
    ledger = Ledger(30 * DAY_S)
    touched = {ledger.add(at, tally) for at, tally in events if tally.asked}
    stored = {(name, at): value for name, at, value in ledger.samples(touched)}

    def of(suffix: str) -> dict[float, Tally]:
        names = [f"availability_{what}{suffix}" for what in ("requests", "failed", "lost")]
        buckets = {at for name, at in stored if name in names}
        return {at: Tally(*(stored.get((name, at), 0.0) for name in names)) for at in buckets}

    again = Ledger(30 * DAY_S)
    again.restore(of("_1m"), of(""))
    for window_s in (300, HOUR_S, FINE_S, 3 * DAY_S, 30 * DAY_S):
        assert again.window(NOW, window_s) == ledger.window(NOW, window_s)


def test_what_was_lost_is_taken_back_from_minutes_and_hours() -> None:
    ledger = Ledger(30 * DAY_S)
    ledger.add(NOW - 7200, Tally(10, 1, 5.0))
    ledger.add(NOW - 300, Tally(20, 2))
    ledger.add(NOW - 300, Tally(lost=7.0))
    assert ledger.window(NOW, HOUR_S) == Tally(20, 2, 7.0)
    changed = ledger.take_back_lost(NOW - 400)
    assert ledger.window(NOW, HOUR_S) == Tally(20, 2, 0.0)
    assert ledger.window(NOW, 30 * DAY_S) == Tally(30, 3, 5.0)
    # The row of a minute that lost nothing after all is written over, and not left as it was.
    assert ("availability_lost_1m", changed[0], 0.0) in ledger.samples(changed)


def test_the_rate_before_an_outage_is_over_what_is_known() -> None:
    ledger = Ledger(30 * DAY_S)
    assert ledger.rate_rps(NOW) == 0.0
    for minute in range(10):
        ledger.add(NOW // 60 * 60 - 60 * minute - 30, Tally(120))
    assert ledger.rate_rps(NOW // 60 * 60) == pytest.approx(2.0)
    ledger.add(NOW - 2 * HOUR_S, Tally(10_000))
    assert ledger.rate_rps(NOW // 60 * 60) == pytest.approx(2.0)
