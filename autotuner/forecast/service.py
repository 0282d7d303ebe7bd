"""Forecasts for the daemon: the model that does best on each series, Prophet one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast import seasonal
from autotuner.forecast.backtest import HELD_OUT_SHARE, Tried, enough, tried
from autotuner.forecast.bands import Kind
from autotuner.forecast.child import ChildError
from autotuner.forecast.fit_job import FitRequest, fit_in_child
from autotuner.forecast.prophet_model import MIN_POINTS
from autotuner.forecast.series import DAY_S, FloatArray, Series, Times, clean, grid_after

Fit = Callable[[FitRequest], Tried]

# Prophet is tried on what comes before the held-out end.
PROPHET_POINTS = math.ceil(MIN_POINTS / (1.0 - HELD_OUT_SHARE))


@dataclass(frozen=True)
class ForecastSettings:
    """How series are read and fitted. Defaults are the ones measured to work."""

    step_s: float = 300.0
    window_s: float = 14 * DAY_S  # older data is not looked at
    time_limit_s: float = 30.0  # for the whole process, its start included
    coverage: float = 0.99  # what the intervals are to hold
    use_prophet: bool = True


class Forecaster:
    """Forecasts one series at a time. May block for `time_limit_s`; safe to call from threads."""

    def __init__(
        self, settings: ForecastSettings = ForecastSettings(), fit: Fit = fit_in_child
    ) -> None:
        self._settings = settings
        self._fit = fit

    @property
    def coverage(self) -> float:
        """The share of values that the intervals are to hold."""
        return self._settings.coverage

    def forecast(
        self,
        series_name: str,
        times: Times,
        values: ArrayLike,
        horizon_s: float,
        now: float,
        kind: Kind,
    ) -> Forecast:
        """The forecast from `now` (UTC seconds) on, one point per step.

        Its model is the one with the least error on the last third of the series, which no model
        had seen: robust (the level), seasonal (the time of day, from two days on) or prophet.
        Never raises for what the data is like: without usable data the forecast has no points,
        its model is "none" and its note says why. Data after `now` is not looked at.
        """
        chosen = self._settings
        try:
            series = clean(times, values, chosen.step_s, start=now - chosen.window_s, end=now)
        except ValueError as error:
            return Forecast(series_name, now, "none", (), note=str(error))
        if len(series) == 0:
            note = f"no finite value in the last {chosen.window_s / DAY_S:g} days"
            return Forecast(series_name, now, "none", (), note=note)
        return self._best(series_name, series, horizon_s, now, kind)

    def probe(self) -> str | None:
        """Why Prophet can't be used here, found by a small fit; None when it can."""
        times = np.arange(2 * PROPHET_POINTS, dtype=np.float64) * self._settings.step_s
        series = clean(times, 1.0 + times % 7.0, self._settings.step_s)
        answer = self._prophet(series, times[-1:], Kind.RATE)
        return answer if isinstance(answer, str) else None

    def _best(
        self, name: str, series: Series, horizon_s: float, now: float, kind: Kind
    ) -> Forecast:
        horizon = grid_after(now, horizon_s, series.step_s)
        reason = self._why_not_prophet(series)
        if not enough(series):
            model, points = seasonal.forecast(series, horizon, kind)
            return Forecast(name, now, model, points, note=reason or "")
        found = self._simple(series, horizon, kind)
        if reason is None:
            answer = self._prophet(series, horizon, kind)
            if isinstance(answer, str):
                reason = answer
            else:
                found = [*found, answer]
        best = min(found, key=lambda one: one.error)  # of equals the simplest
        return Forecast(name, now, best.model, best.points, note=_note(reason, found))

    def _simple(self, series: Series, horizon: FloatArray, kind: Kind) -> list[Tried]:
        curves = {"robust": seasonal.level}
        if series.span_s >= seasonal.SEASONAL_SPAN_S:
            curves["seasonal"] = seasonal.daily
        coverage = self._settings.coverage
        return [tried(m, series, horizon, kind, curve, coverage) for m, curve in curves.items()]

    def _why_not_prophet(self, series: Series) -> str | None:
        if not self._settings.use_prophet:
            return "prophet is switched off"
        if len(series) < PROPHET_POINTS:
            return f"too short for prophet: {len(series)} points, {PROPHET_POINTS} needed"
        return "constant series" if series.constant else None

    def _prophet(self, series: Series, horizon: FloatArray, kind: Kind) -> Tried | str:
        """What Prophet gave, or why it gave nothing."""
        chosen = self._settings
        request = FitRequest(series, horizon, kind, chosen.time_limit_s, chosen.coverage)
        try:
            found = self._fit(request)
        except TimeoutError:
            return f"prophet timed out after {chosen.time_limit_s:g} s"
        except (ChildError, OSError, ValueError, TypeError) as error:
            return f"prophet failed: {error}"
        usable = len(found.points) == len(horizon) and all(map(_finite, found.points))
        return found if usable and np.isfinite(found.error) else "prophet gave no finite forecast"


def _finite(point: ForecastPoint) -> bool:
    return bool(np.all(np.isfinite((point.value, point.low, point.high))))


def _note(reason: str | None, found: Sequence[Tried]) -> str:
    """What was left out and why, and how those that were compared did."""
    ranked = sorted(found, key=lambda one: one.error)
    errors = ", ".join(f"{one.model} {one.error:.3g}" for one in ranked)
    compared = f"error on the held-out end: {errors}" if len(found) > 1 else None
    return "; ".join(part for part in (reason, compared) if part)
