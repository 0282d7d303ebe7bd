"""What a model's held-out errors teach: how deviations live on, how wide intervals must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.forecast import seasonal
from autotuner.forecast.backtest import tried
from autotuner.forecast.bands import Kind
from autotuner.forecast.series import DAY_S, FloatArray, Series, clean

STEP_S = 600.0
DAY = 144
START = 20_000 * DAY_S


def made(values: FloatArray) -> Series:
    return clean(START + np.arange(len(values)) * STEP_S, values, STEP_S)


def ahead(series: Series, steps: int) -> FloatArray:
    return np.asarray(series.times[-1] + STEP_S * np.arange(1, steps + 1), dtype=np.float64)


def autoregressive(share: float, points: int, seed: int = 0) -> FloatArray:
    """Around 100, a deviation of which `share` is left after each step; noise of sd 1."""
    rng, values, deviation = np.random.default_rng(seed), np.empty(points), 0.0
    for i in range(points):
        deviation = share * deviation + rng.normal()
        values[i] = 100.0 + deviation
    return values


def test_a_deviation_lives_on_as_it_did() -> None:
    values = autoregressive(0.9, 6 * DAY)
    values[-1] = 110.0
    found = tried("m", made(values), ahead(made(values), 10), Kind.RATE, _at_100, 0.9)
    left = [point.value - 100.0 for point in found.points]
    assert left[0] == pytest.approx(9.0, abs=0.6)
    assert left[9] == pytest.approx(10 * 0.9**10, abs=1.5)


def test_noise_without_memory_is_not_carried() -> None:
    values = autoregressive(0.0, 10 * DAY)
    values[-1] = 110.0
    found = tried("m", made(values), ahead(made(values), 6), Kind.RATE, _at_100, 0.9)
    assert max(abs(point.value - 100.0) for point in found.points) < 1.5


def test_a_walk_keeps_its_last_value() -> None:
    values = 1000.0 + np.cumsum(np.random.default_rng(1).normal(size=6 * DAY))
    found = tried("m", made(values), ahead(made(values), 1), Kind.RATE, seasonal.level, 0.9)
    assert found.points[0].value == pytest.approx(values[-1], abs=1.0)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.99])
@pytest.mark.parametrize("steps", [1, 12])
def test_intervals_hold_the_share_they_claim(coverage: float, steps: int) -> None:
    values = autoregressive(0.9, 60 * DAY, seed=2)
    inside = []
    for end in range(6 * DAY, len(values) - steps, 97):
        series = made(values[end - 6 * DAY : end])
        horizon = ahead(series, steps)[-1:]
        (point,) = tried("m", series, horizon, Kind.RATE, _at_100, coverage).points
        inside.append(point.low <= values[end + steps - 1] <= point.high)
    # 80 origins: two standard errors of the share are about 0.09 at 0.8.
    assert np.mean(inside) == pytest.approx(coverage, abs=0.09)


def test_an_interval_is_as_skewed_as_the_errors() -> None:
    values = 10.0 + np.random.default_rng(3).exponential(size=6 * DAY)
    (point,) = tried(
        "m", made(values), ahead(made(values), 1), Kind.RATE, seasonal.level, 0.9
    ).points
    assert point.high - point.value > 2 * (point.value - point.low)


def test_holes_are_not_taken_for_neighbours() -> None:
    values = autoregressive(0.9, 6 * DAY)
    keep = np.random.default_rng(4).random(len(values)) < 0.5
    keep[-1] = True
    values[-1] = 110.0
    times = START + np.arange(len(values)) * STEP_S
    series = clean(times[keep], values[keep], STEP_S)
    found = tried("m", series, ahead(series, 1), Kind.RATE, _at_100, 0.9)
    assert found.points[0].value - 100.0 == pytest.approx(9.0, abs=1.0)


def test_the_held_out_error_knows_the_better_model() -> None:
    times = START + np.arange(6 * DAY) * STEP_S
    noise = np.random.default_rng(5).normal(size=len(times))
    series = clean(times, 100 + 30 * np.sin(2 * np.pi * times / DAY_S) + noise, STEP_S)
    horizon = ahead(series, 36)
    by_day = tried("day", series, horizon, Kind.RATE, seasonal.daily, 0.9)
    by_level = tried("level", series, horizon, Kind.RATE, seasonal.level, 0.9)
    assert by_day.error < by_level.error / 3


def test_a_lead_that_was_never_tried_is_left_to_the_curve() -> None:
    values = autoregressive(0.9, 90)
    values[-1] = 110.0
    far = np.array([START + 10 * DAY_S])
    (point,) = tried("m", made(values), far, Kind.RATE, _at_100, 0.9).points
    assert point.value == 100.0
    assert point.low <= 99.0
    assert point.high == 110.0


def test_too_few_points_are_refused() -> None:
    series = made(np.ones(59))
    with pytest.raises(ValueError, match="59 points; at least 60"):
        tried("m", series, ahead(series, 1), Kind.RATE, seasonal.level, 0.9)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0, 1e9), min_size=60, max_size=300),
    st.sampled_from(list(Kind)),
    st.sampled_from([0.5, 0.99]),
)
def test_points_are_finite_and_possible(values: list[float], kind: Kind, coverage: float) -> None:
    shares = np.asarray(values) / 1e9 if kind is Kind.SHARE else np.asarray(values)
    series = made(shares)
    found = tried("m", series, ahead(series, 5), kind, seasonal.level, coverage)
    for point in found.points:
        assert 0.0 <= point.low <= point.value <= point.high <= kind.highest
        assert np.isfinite(point.high)
    assert np.isfinite(found.error)


def _at_100(series: Series, times: FloatArray) -> FloatArray:
    return np.full(len(times), 100.0)
