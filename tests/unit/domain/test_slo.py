"""What a request says about the service: met, missed, or nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome
from tests.unit.requests_seen import SERVED

TARGETS = SLO(ttft_s=1.0, gap_max_s=0.1, tpot_s=0.05, e2el_s=5.0)
LEFT = replace(SERVED, outcome=Outcome.ABORT)
UNSEEN = replace(LEFT, ttft_s=None, tpot_s=None, gap_max_s=None, output_tokens=0)
ONE_TOKEN = replace(LEFT, tpot_s=None, gap_max_s=None, output_tokens=1)


@pytest.mark.parametrize(
    "change",
    [
        {"ttft_s": 1.01},
        {"gap_max_s": 0.11},
        {"tpot_s": 0.06},
        {"e2el_s": 5.1},
        {"outcome": Outcome.ERROR},
        {"outcome": Outcome.REJECTED},
        {"outcome": Outcome.ABORT},
    ],
)
def test_one_missed_target_is_enough(change: dict[str, object]) -> None:
    assert TARGETS.met_by(SERVED)
    assert not TARGETS.met_by(replace(SERVED, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.ABORT])
def test_all_but_aborted_requests_count(outcome: Outcome) -> None:
    assert TARGETS.counts(replace(SERVED, outcome=outcome, e2el_s=0.1))


@pytest.mark.parametrize(
    ("request_", "counts"),
    [
        (replace(UNSEEN, e2el_s=0.9), False),
        (replace(UNSEEN, e2el_s=1.1), True),  # the TTFT deadline passed
        (replace(LEFT, ttft_s=1.1, e2el_s=1.6), True),
        (LEFT, False),
        (replace(LEFT, gap_max_s=0.11), True),
        (replace(LEFT, tpot_s=0.06, gap_max_s=0.09, e2el_s=1.02), False),  # a mean may mend
        (replace(LEFT, e2el_s=0.4 + 10 * 0.04 + 0.09), False),  # waiting for a token, in time
        (replace(LEFT, e2el_s=0.4 + 10 * 0.04 + 0.11), True),  # too long for a token
        (replace(ONE_TOKEN, e2el_s=0.49), False),
        (replace(ONE_TOKEN, e2el_s=0.51), True),
        (replace(LEFT, tpot_s=None, e2el_s=3.0), False),  # when its last token came is not told
        (replace(LEFT, e2el_s=5.1, tpot_s=0.469), True),
        (replace(UNSEEN, e2el_s=math.nan), False),
    ],
)
def test_an_aborted_request_counts_once_a_deadline_had_passed(
    request_: Exposure, counts: bool
) -> None:
    assert TARGETS.counts(request_) is counts
    assert not TARGETS.met_by(request_)


@pytest.mark.parametrize("slo", [SLO(), SLO(tpot_s=0.001)])
def test_without_a_deadline_a_client_that_left_says_nothing(slo: SLO) -> None:
    assert not slo.counts(replace(UNSEEN, e2el_s=1e6))
    assert not slo.counts(replace(LEFT, e2el_s=1e6))


def test_overdue_by_a_moment() -> None:
    slow = replace(SERVED, ttft_s=3.0, e2el_s=4.0)
    assert not TARGETS.overdue(slow, by=101.0)  # its deadline is that very moment
    assert TARGETS.overdue(slow, by=101.1)
    assert not SLO(gap_max_s=0.01).overdue(SERVED, by=1e9)  # the log does not say when
    assert SLO(gap_max_s=0.01).overdue(SERVED)


def test_a_failure_without_a_token_is_overdue_when_its_deadline_is() -> None:
    failed = replace(UNSEEN, outcome=Outcome.ERROR, e2el_s=0.1)
    assert TARGETS.overdue(failed, by=101.1)
    assert not TARGETS.overdue(failed, by=100.5)
    assert not TARGETS.overdue(replace(failed, outcome=Outcome.ABORT), by=101.1)


@given(
    ttft_s=st.none() | st.floats(0, 3),
    gap_s=st.floats(0, 0.3),
    more_s=st.floats(0, 6),
    tokens=st.integers(1, 50),
)
def test_what_was_overdue_when_it_left_could_not_have_been_met(
    ttft_s: float | None, gap_s: float, more_s: float, tokens: int
) -> None:
    """However an aborted request had gone on, served to its end it would have missed."""
    if ttft_s is None:
        left = replace(UNSEEN, e2el_s=more_s)
        best_end = replace(SERVED, ttft_s=more_s, tpot_s=0.0, gap_max_s=0.0, e2el_s=more_s)
    else:
        many, last_s = tokens > 1, ttft_s + gap_s * (tokens - 1)
        left = replace(
            LEFT, ttft_s=ttft_s, tpot_s=gap_s if many else None, output_tokens=tokens,
            gap_max_s=gap_s if many else None, e2el_s=last_s + more_s,
        )  # fmt: skip
        longest = max(gap_s if many else 0.0, left.e2el_s - last_s)
        best_end = replace(left, outcome=Outcome.STOP, tpot_s=0.0, gap_max_s=longest)
    if TARGETS.counts(left):
        assert not TARGETS.met_by(best_end)
    else:
        assert TARGETS.met_by(best_end)
