"""Curves without Prophet: the median of the same time of day, or the recent level. Pure."""

from __future__ import annotations

import numpy as np

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast.bands import Kind, banded
from autotuner.forecast.series import DAY_S, FloatArray, Series, noise_sd, spread_sd

SEASONAL_SPAN_S = 2 * DAY_S
_Z99 = 2.576  # half-width of a normal's 99% interval, in standard deviations
_NEIGHBOURHOOD_S = 900.0  # chosen: two days alone give a time of day only two points


def forecast(
    series: Series, horizon: FloatArray, kind: Kind
) -> tuple[str, tuple[ForecastPoint, ...]]:
    """The model's name (seasonal or robust) and its points at the times `horizon`, shape (m,).

    Seasonal from two days of data on; before that the median of the last day. The interval is
    the 99% one of a normal with the residuals' robust spread. `series` is not empty.
    """
    if series.span_s >= SEASONAL_SPAN_S:
        name, expected = "seasonal", daily(series, horizon)
        residuals = series.values - daily(series, series.times)
    else:
        name, expected = "robust", level(series, horizon)
        residuals = _last_day(series) - np.median(_last_day(series))
    # The median deviation alone makes bands that real metrics leave three times as often.
    half = _Z99 * spread_sd(residuals)
    rows = zip(horizon, expected, expected - half, expected + half, strict=True)
    return name, banded(rows, kind, noise_sd(series.values))


def level(series: Series, times: FloatArray) -> FloatArray:
    """The median of the last day at each of `times`."""
    return np.full(len(times), float(np.median(_last_day(series))))


def daily(series: Series, times: FloatArray) -> FloatArray:
    """The median of each one's time of day and its neighbourhood, at each of `times`."""
    profile = _daily_profile(series)
    return np.asarray(profile[_slot(times, series.step_s, len(profile))], dtype=np.float64)


def _last_day(series: Series) -> FloatArray:
    recent: FloatArray = series.values[series.times > series.times[-1] - DAY_S]
    return recent


def _slot(
    times: FloatArray, step_s: float, slots: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    return (np.floor((times % DAY_S) / step_s).astype(np.intp)) % slots


def _daily_profile(series: Series) -> FloatArray:
    """The median per time of day and its neighbourhood; the overall one where nothing was seen."""
    slots = max(1, int(np.ceil(DAY_S / series.step_s)))
    reach = min(int(_NEIGHBOURHOOD_S // series.step_s), (slots - 1) // 2)
    own = _slot(series.times, series.step_s, slots)
    by_slot = [series.values[own == slot] for slot in range(slots)]
    overall = float(np.median(series.values))
    profile = np.full(slots, overall)
    for slot in range(slots):
        near = np.concatenate([by_slot[(slot + k) % slots] for k in range(-reach, reach + 1)])
        if len(near):
            profile[slot] = np.median(near)
    return profile
