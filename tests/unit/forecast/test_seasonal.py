from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.forecast import seasonal
from autotuner.forecast.bands import Kind
from autotuner.forecast.series import DAY_S, Series, clean, grid_after

STEP_S = 300.0
START = 20_000 * DAY_S


def daily(days: float, noise: float = 0.0, seed: int = 0) -> Series:
    times = START + np.arange(int(days * 288)) * STEP_S
    wave = 10 + 5 * np.sin(2 * np.pi * times / DAY_S)
    return clean(times, wave + np.random.default_rng(seed).normal(0, noise, len(times)))


def test_a_daily_pattern_is_learnt_from_two_days() -> None:
    horizon = grid_after(START + 2 * DAY_S, DAY_S, STEP_S)
    name, points = seasonal.forecast(daily(2.0, noise=0.3), horizon, Kind.RATE)
    truth = 10 + 5 * np.sin(2 * np.pi * horizon / DAY_S)
    errors = np.abs(np.array([p.value for p in points]) - truth)
    assert name == "seasonal"
    assert errors.mean() < 0.3


def test_the_band_holds_nearly_all_of_a_further_day() -> None:
    horizon = grid_after(START + 7 * DAY_S, DAY_S - STEP_S, STEP_S)
    _, points = seasonal.forecast(daily(7.0, noise=0.5), horizon, Kind.RATE)
    later = daily(8.0, noise=0.5, seed=1).values[-288:]
    inside = [p.low <= y <= p.high for p, y in zip(points, later, strict=True)]
    assert np.mean(inside) > 0.95


def test_before_two_days_the_recent_level_counts() -> None:
    times = START + np.arange(400) * STEP_S
    values = np.where(np.arange(400) < 100, 1000.0, 4.0)  # what is older than a day is forgotten
    name, points = seasonal.forecast(
        clean(times, values), np.array([times[-1] + STEP_S], dtype=np.float64), Kind.RATE
    )
    assert name == "robust"
    assert points[0].value == 4.0


def test_one_point_is_its_own_forecast_with_a_band() -> None:
    _, (point,) = seasonal.forecast(clean([START], [8.0]), np.array([START]), Kind.LATENCY)
    assert (point.value, point.low, point.high) == pytest.approx((8.0, 7.92, 8.08))


def test_times_of_day_without_data_get_the_overall_median() -> None:
    times = np.concatenate([START + d * DAY_S + np.arange(12) * STEP_S for d in range(4)])
    noon = np.array([START + 4 * DAY_S + DAY_S / 2])
    _, (point,) = seasonal.forecast(clean(times, np.full(48, 3.0)), noon, Kind.RATE)
    assert point.value == 3.0


@pytest.mark.parametrize("step_s", [7.0, 900.0, 7 * 3600.0, 2 * DAY_S])
def test_any_step_works(step_s: float) -> None:
    times = START + np.arange(100) * step_s
    series = clean(times, np.arange(100.0), step_s)
    _, points = seasonal.forecast(series, grid_after(times[-1], 3 * step_s, step_s), Kind.RATE)
    assert len(points) == 4


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 1e9), min_size=1, max_size=700),
    st.sampled_from([Kind.RATE, Kind.LATENCY]),
)
def test_forecasts_are_finite_and_possible(values: list[float], kind: Kind) -> None:
    times = START + np.arange(len(values)) * STEP_S
    _, points = seasonal.forecast(clean(times, values), grid_after(times[-1], 3600.0, STEP_S), kind)
    for point in points:
        assert 0.0 <= point.low <= point.value <= point.high < np.inf
