from __future__ import annotations

import math

import numpy as np
import pytest

from autotuner.alerts.capacity import Minute, capacity

A, B_PER_RUNNING = 2.0, 0.1  # an engine: W = A + B_PER_RUNNING × running


def service_s(rate_rps: float) -> float:
    return A / (1.0 - B_PER_RUNNING * rate_rps)


def minutes(low: float, high: float, count: int = 60, goal_until: float = 1e9) -> list[Minute]:
    return [
        Minute(rate, service_s(rate), 1.0 if rate <= goal_until else 0.8)
        for rate in np.linspace(low, high, count)
    ]


def test_where_nothing_was_missed_it_is_extrapolated() -> None:
    places = 64
    known = capacity(minutes(1.0, 4.0), places, 0.99)
    assert known is not None
    full = places / (A + B_PER_RUNNING * places)
    assert known.rate_rps == pytest.approx(full * (1.0 - 1.0 / math.sqrt(places)))
    assert known.basis == "extrapolated from service times"


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_estimate_but_little(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noisy = [
        Minute(m.rate_rps * rng.normal(1, 0.1), m.service_s * rng.normal(1, 0.1), 1.0)
        for m in minutes(1.0, 4.0, 180)
    ]
    known = capacity(noisy, 64, 0.99)
    assert known is not None
    assert known.rate_rps == pytest.approx(6.67, rel=0.2)


def test_more_places_never_serve_less() -> None:
    known = [capacity(minutes(1.0, 4.0), places, 0.99) for places in (4, 8, 16, 64, 256)]
    rates = [k.rate_rps for k in known if k is not None]
    assert len(rates) == 5
    assert rates == sorted(rates)


def test_minutes_that_missed_the_goal_are_evidence() -> None:
    known = capacity(minutes(1.0, 4.0, goal_until=3.0), 64, 0.99)
    assert known is not None
    assert known.rate_rps == pytest.approx(3.0, abs=0.1)
    assert known.basis == "above it 20 minutes missed the goal"


def test_evidence_needs_no_places() -> None:
    known = capacity(minutes(1.0, 4.0, goal_until=3.0), None, 0.99)
    assert known is not None
    assert known.rate_rps == pytest.approx(3.0, abs=0.1)


def test_a_bad_minute_at_a_low_rate_is_no_boundary() -> None:
    odd = [*minutes(1.0, 4.0), *[Minute(1.2, 5.0, 0.1)] * 2]
    known = capacity(odd, 64, 0.99)
    assert known is not None
    assert known.basis == "extrapolated from service times"


def test_where_every_minute_missed_no_rate_that_was_seen_can_be_served() -> None:
    known = capacity(minutes(2.0, 4.0, goal_until=0.0), 64, 0.99)
    assert known is not None
    assert known.rate_rps == 2.0


def test_what_was_served_counts_more_than_the_model() -> None:
    known = capacity(minutes(1.0, 6.0), 2, 0.99)
    assert known is not None
    assert known.rate_rps == pytest.approx(5.5, abs=0.05)


def test_what_says_too_little_gives_nothing() -> None:
    assert capacity([], 64, 0.99) is None
    assert capacity(minutes(1.0, 4.0, 9), 64, 0.99) is None
    assert capacity(minutes(1.0, 4.0), None, 0.99) is None
    assert capacity(minutes(3.0, 3.1), 64, 0.99) is None  # one rate tells no slope
    idle = [Minute(0.0, math.nan, math.nan)] * 100
    assert capacity(idle, 64, 0.99) is None
    untimed = [Minute(m.rate_rps, math.nan, 1.0) for m in minutes(1.0, 4.0)]
    assert capacity(untimed, 64, 0.99) is None
