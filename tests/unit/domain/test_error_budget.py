"""How much of a budget is left, when that is judged, and when it burns too fast."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.config import Policy, parse_policy
from autotuner.domain.availability import Ledger, Tally
from autotuner.domain.error_budget import (
    BURNS,
    DAY_S,
    LEAST_FAILED,
    WINDOWS_S,
    AvailabilityGoal,
    Burn,
    ErrorBudget,
    budget_of,
)
from autotuner.domain.errors import ConfigError

NOW = 1_764_000_000.0
GOAL = AvailabilityGoal()


def budget(requests: float, bad: float, goal: AvailabilityGoal = GOAL) -> ErrorBudget:
    return ErrorBudget(goal, Tally(requests, bad), {})


def steady(share: float, rate_rps: float, hours: float, before_h: float = 0) -> Ledger:
    """Requests that fail by `share` in the last hours, after `before_h` in which all was well."""
    ledger = Ledger(GOAL.kept_s)
    for minute in range(int((hours + before_h) * 60)):
        asked = 60 * rate_rps
        bad = share * asked if minute < hours * 60 else 0.0
        ledger.add(NOW - 60 * minute - 30, Tally(asked, bad))
    return ledger


def sustained(ledger: Ledger, now: float = NOW) -> list[float]:
    seen = budget_of(ledger, GOAL, now)
    return [seen.sustained(burn) for burn in BURNS]


def test_a_month_at_the_objective_bears_one_failure_in_two_thousand() -> None:
    seen = budget(1_000_000, 400)
    assert seen.borne == pytest.approx(500)
    assert seen.remaining == pytest.approx(0.2)
    assert seen.availability == pytest.approx(0.9996)
    assert not seen.nearly_spent
    assert seen.refusal() is None
    spent = budget(1_000_000, 460)
    assert spent.nearly_spent
    assert spent.refusal() == (
        "no test starts while less than 10% of the error budget is left: "
        "8.0% is left (460 of 1000000 requests failed in 30 days, 500 may at 99.95%)"
    )
    assert "overdrawn by 40.0%" in str(budget(1_000_000, 700).refusal())


def test_one_error_in_little_traffic_spends_nothing_and_says_how_much_is_needed() -> None:
    seen = budget(150, 1)
    assert math.isnan(seen.remaining)
    assert not seen.nearly_spent
    assert seen.words() == "not judged below 20000 requests (1 of 150 requests failed in 30 days)"
    assert "error_budget_remaining" not in seen.series()
    assert set(seen.series().values()) == {0.0}


@given(st.floats(0.5, 0.99999), st.integers(1, 10**7))
def test_a_budget_that_is_judged_bears_the_least_failures(objective: float, requests: int) -> None:
    seen = budget(requests, 1, AvailabilityGoal(objective))
    assert not seen.judged or seen.borne >= LEAST_FAILED * (1 - 1e-6)
    assert seen.judged or seen.borne <= LEAST_FAILED * (1 + 1e-6) + 1
    assert not seen.nearly_spent, "one failure is a tenth of the smallest budget that is judged"


@pytest.mark.parametrize(
    ("burn", "hours", "spends"), [(BURNS[0], 1, 0.02), (BURNS[1], 6, 0.05), (BURNS[2], 72, 0.10)]
)
def test_the_factors_spend_what_the_workbook_says(burn: Burn, hours: int, spends: float) -> None:
    factor = burn.factor
    assert factor * hours / (30 * 24) == pytest.approx(spends)
    ledger = steady(factor * 1.05 * GOAL.borne_share, 10.0, hours)
    found = dict(zip(BURNS, sustained(ledger), strict=True))
    assert found[burn] > factor
    ledger = steady(factor * 0.95 * GOAL.borne_share, 10.0, hours)
    found = dict(zip(BURNS, sustained(ledger), strict=True))
    assert found[burn] < factor


def test_an_old_burst_ends_the_fast_alert_within_its_short_window() -> None:
    ledger = steady(0.5, 10.0, hours=0.5)
    assert sustained(ledger)[0] > 14.4
    for minute in range(7):
        ledger.add(NOW + 60 * minute + 30, Tally(600))
    assert budget_of(ledger, GOAL, NOW + 420).burn_rate("1h") > 14.4
    assert sustained(ledger, NOW + 420)[0] == 0.0


def test_no_requests_at_all_burn_nothing() -> None:
    assert sustained(Ledger(GOAL.kept_s)) == [0.0, 0.0, 0.0]
    seen = budget_of(Ledger(GOAL.kept_s), GOAL, NOW)
    assert math.isnan(seen.availability)
    assert math.isnan(seen.burn_rate("1h"))
    assert math.isnan(seen.lasts_s)


@settings(max_examples=15)  # each goes through 12,000 minutes
@given(st.floats(0.00001, 0.01))
def test_how_long_it_lasts_is_the_window_over_the_burn_rate(share: float) -> None:
    seen = budget_of(steady(share, 50.0, hours=1, before_h=200), GOAL, NOW)
    assert seen.burn_rate("1h") == pytest.approx(share / 0.0005)
    if seen.remaining > 0:
        assert seen.lasts_s == pytest.approx(seen.remaining * 30 * DAY_S / seen.burn_rate("1h"))
    else:
        assert seen.lasts_s == 0


def test_a_budget_that_nothing_burns_lasts() -> None:
    assert budget_of(steady(0.0, 50.0, hours=2), GOAL, NOW).lasts_s == math.inf
    assert set(WINDOWS_S) >= {burn.long for burn in BURNS} | {burn.short for burn in BURNS}


def policy(**availability: object) -> Policy:
    told: dict[str, object] = {
        "name": "p",
        "slo": {"ttft_s": 1.0},
        "knobs": {"k": {"levels": [1, 2]}},
    }
    return parse_policy(told | ({"availability": availability} if availability else {}))


def test_it_is_on_by_default_with_the_usual_objective() -> None:
    found = policy().availability
    assert found is not None
    assert found.to_domain() == AvailabilityGoal(0.9995, 30 * DAY_S, 0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("objective", 1.0), ("window_days", 0), ("window_days", 91), ("reserve", 1)],
)
def test_what_makes_no_sense_is_refused_by_its_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"availability.{field}={value}"):
        policy(**{field: value})
