from __future__ import annotations

import math

import pytest

from autotuner.alerts.outlook import KEPT_SETTINGS, Look, Outlook
from autotuner.domain.forecasts import ForecastPoint
from autotuner.domain.telemetry import Histogram

GOAL = 0.99


def look(at: float, rate_rps: float, attainment: float = 1.0, settings: str = "s") -> Look:
    busy = 2.0 / (1.0 - 0.1 * rate_rps)
    times = {
        "e2el_s": Histogram((math.inf,), (10.0,), 10.0 * (busy + 0.5)),
        "queue_s": Histogram((math.inf,), (10.0,), 10.0 * 0.5),
    }
    return Look(at, settings, rate_rps, attainment, 64.0, times)


def taught(outlook: Outlook, *looks: Look) -> Outlook:
    for one in looks:
        outlook.learn(one)
    return outlook


def an_hour(settings: str = "s", goal_until: float = 1e9) -> list[Look]:
    """Looks every 10 s, the rate rising from 1 to 4 per second, one level a minute."""
    return [
        look(10.0 * i, rate := 1.0 + (i // 6) / 20, 1.0 if rate <= goal_until else 0.5, settings)
        for i in range(361)
    ]


def peak(value: float, at: float = 3000.0) -> ForecastPoint:
    return ForecastPoint(at, value, value, value)


def test_before_anything_is_known_nothing_is_said() -> None:
    assert Outlook(GOAL).judge(peak(1e9), 0.0).exceeds is None
    assert taught(Outlook(GOAL), *an_hour()).judge(None, 0.0).exceeds is None


def test_a_peak_is_set_against_what_can_be_served() -> None:
    outlook = taught(Outlook(GOAL), *an_hour(goal_until=2.99))
    found = [outlook.judge(peak(value), 0.0).exceeds for value in (2.0, 2.9, 3.2)]
    assert found == [False, None, True]
    told = outlook.judge(peak(3.2), 1800.0).text
    assert told.startswith("3.2 requests per second are forecast in 20 min; these settings can ")
    assert told.endswith("minutes missed the goal)")


def test_the_wait_is_no_part_of_the_service_time() -> None:
    known = taught(Outlook(GOAL), *an_hour()).judge(peak(100.0), 0.0)
    assert known.exceeds is True
    assert known.capacity is not None
    assert known.capacity.rate_rps == pytest.approx(6.67, rel=0.05)


def test_other_settings_have_a_capacity_of_their_own() -> None:
    outlook = taught(Outlook(GOAL), *an_hour(goal_until=2.99))
    assert outlook.judge(peak(5.0), 0.0).exceeds is True
    outlook.learn(look(4000.0, 3.0, settings="other"))
    assert outlook.judge(peak(5.0), 0.0).exceeds is None
    outlook.learn(look(4010.0, 3.0))  # back again: what was learnt is still known
    assert outlook.judge(peak(5.0), 0.0).exceeds is True


def test_a_minute_that_was_interrupted_does_not_count() -> None:
    outlook = Outlook(GOAL)
    for one in an_hour(goal_until=2.99):
        outlook.interrupt()
        outlook.learn(one)
    assert outlook.judge(peak(1e9), 0.0).exceeds is None


def test_a_minute_under_two_settings_does_not_count() -> None:
    outlook = Outlook(GOAL)
    for i, one in enumerate(an_hour(goal_until=2.99)):
        outlook.learn(look(one.at, one.rate_rps, one.attainment, settings=f"s{i % 2}"))
    assert outlook.judge(peak(1e9), 0.0).exceeds is None


def test_of_many_settings_the_oldest_are_forgotten() -> None:
    outlook = taught(Outlook(GOAL), *an_hour(goal_until=2.99))
    for n in range(KEPT_SETTINGS):
        start = 10_000.0 * (n + 1)
        taught(outlook, *(look(start + 60.0 * i, 1.0, settings=f"other{n}") for i in range(2)))
    outlook.learn(look(1e6, 3.0))
    assert outlook.judge(peak(1e9), 0.0).exceeds is None
