from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.forecast.series import (
    clean,
    epoch_seconds,
    grid_after,
    noise_sd,
    robust_sd,
    smallest_half_width,
    spread_sd,
)

T0 = 1_750_000_200.0  # a multiple of 300
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True, width=64)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_any_datetime_unit_is_the_same_time(unit: str) -> None:
    stamps = np.array(["2026-03-01T00:00:00", "2026-03-01T00:05:00"], dtype=f"datetime64[{unit}]")
    expected = [datetime(2026, 3, 1, 0, m, tzinfo=UTC).timestamp() for m in (0, 5)]
    assert epoch_seconds(stamps).tolist() == expected


def test_missing_stamp_becomes_nan() -> None:
    stamps = np.array(["2026-03-01", "NaT"], dtype="datetime64[ms]")
    assert np.isnan(epoch_seconds(stamps)).tolist() == [False, True]


def test_local_times_across_a_clock_change_keep_their_distance() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2025, 10, 25, 22, 0, tzinfo=UTC)  # the clock goes back at 01:00 UTC
    stamps = [(first + timedelta(minutes=5 * i)).astimezone(zone) for i in range(72)]
    assert set(np.diff(epoch_seconds(stamps))) == {300.0}


def test_naive_datetime_is_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match="aware datetimes"):
        epoch_seconds([datetime(2026, 3, 1)])


def test_milliseconds_as_numbers_are_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match="convert milliseconds"):
        epoch_seconds([T0 * 1000])


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="two equal lists"):
        clean([T0, T0 + 1], [1.0])


def test_rows_that_say_nothing_are_dropped() -> None:
    times = [T0, T0 + 300, T0 + 600, T0 + 900, np.nan]
    series = clean(times, [1.0, np.nan, np.inf, 4.0, 5.0])
    assert series.times.tolist() == [T0, T0 + 900]
    assert series.values.tolist() == [1.0, 4.0]


def test_unsorted_rows_are_sorted_and_of_one_time_the_last_counts() -> None:
    series = clean([T0 + 300, T0, T0 + 300], [7.0, 1.0, 2.0])
    assert series.values.tolist() == [1.0, 2.0]


def test_a_step_holds_the_median_of_its_points() -> None:
    series = clean([T0 + 10, T0 + 20, T0 + 299.9, T0 + 300], [1.0, 100.0, 3.0, 9.0])
    assert series.times.tolist() == [T0, T0 + 300]
    assert series.values.tolist() == [3.0, 9.0]


def test_only_the_asked_span_is_looked_at() -> None:
    series = clean([T0, T0 + 300, T0 + 600], [1.0, 2.0, 3.0], start=T0 + 1, end=T0 + 300)
    assert series.values.tolist() == [2.0]


def test_empty_and_all_nan_series_are_empty() -> None:
    assert len(clean([], [])) == 0
    nothing = clean([T0, T0 + 300], [np.nan, np.nan])
    assert (len(nothing), nothing.span_s, nothing.constant) == (0, 0.0, True)


@given(
    st.lists(
        st.tuples(st.floats(-1e10, 1e10) | st.just(float("nan")), ANY_FLOAT),
        min_size=0,
        max_size=60,
    )
)
def test_a_clean_series_is_finite_sorted_and_on_the_grid(rows: list[tuple[float, float]]) -> None:
    series = clean([t for t, _ in rows], [v for _, v in rows])
    finite = [v for t, v in rows if np.isfinite(t) and np.isfinite(v)]
    assert np.all(np.diff(series.times) > 0)
    assert np.all(series.times % series.step_s == 0)
    assert len(series) <= len(finite)
    assert (len(series) > 0) == bool(finite)
    if finite:
        assert min(finite) <= series.values.min()
        assert series.values.max() <= max(finite)


@given(st.permutations(list(range(20))))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    times, values = [T0 + 70.0 * i for i in order], [float(i**2) for i in order]
    expected = clean(sorted(times), sorted(values))
    assert clean(times, values).values.tolist() == expected.values.tolist()


def test_robust_sd_of_a_normal_ignores_outliers() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 5000)
    values[::20] = 1e6
    assert robust_sd(values) == pytest.approx(2.0, rel=0.15)
    assert robust_sd(np.array([])) == 0.0


def test_a_mostly_flat_series_still_has_a_spread() -> None:
    values = np.where(np.arange(1000) % 10 == 0, 3.29, 0.0)
    assert robust_sd(values) == 0.0
    assert spread_sd(values) == pytest.approx(1.0)
    assert spread_sd(np.array([])) == 0.0


def test_a_slow_pattern_is_not_noise() -> None:
    slow = 100 * np.sin(np.linspace(0, 6.28, 2000))
    noise = np.random.default_rng(2).normal(0, 1, 2000)
    assert noise_sd(slow + noise) == pytest.approx(1.0, rel=0.15)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_a_band_always_has_width(level: float, noise: float) -> None:
    assert smallest_half_width(level, noise) >= max(0.01 * abs(level), noise, 1e-9)


@given(st.floats(1e9, 2e9), st.floats(0, 86_400))
def test_the_grid_covers_now_and_the_horizon(now: float, horizon_s: float) -> None:
    grid = grid_after(now, horizon_s, 300.0)
    assert grid[0] <= now < grid[0] + 300
    assert grid[-1] <= now + horizon_s < grid[-1] + 300


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(0, 99))
def test_medians_are_those_of_each_step(values: list[float], seed: int) -> None:
    times = np.random.default_rng(seed).permutation(len(values)) * 7.0
    series = clean(times, values, 30.0)
    numbers = np.asarray(values)
    for start, median in zip(series.times, series.values, strict=True):
        own = numbers[(times >= start) & (times < start + 30.0)]
        assert median == pytest.approx(float(np.median(own)))
