"""Forecasts for the daemon: Prophet in a process of its own, a robust model when that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast import seasonal
from autotuner.forecast.bands import Kind
from autotuner.forecast.child import ChildError
from autotuner.forecast.fit_job import FitRequest, fit_in_child
from autotuner.forecast.prophet_model import MIN_POINTS
from autotuner.forecast.series import DAY_S, FloatArray, Series, Times, clean, grid_after

Fit = Callable[[FitRequest], tuple[ForecastPoint, ...]]


@dataclass(frozen=True)
class ForecastSettings:
    """How series are read and fitted. Defaults are the ones measured to work."""

    step_s: float = 300.0
    window_s: float = 14 * DAY_S  # older data is not looked at
    time_limit_s: float = 30.0  # for the whole process, its start included
    seed: int = 0
    use_prophet: bool = True


class Forecaster:
    """Forecasts one series at a time. May block for `time_limit_s`; safe to call from threads."""

    def __init__(
        self, settings: ForecastSettings = ForecastSettings(), fit: Fit = fit_in_child
    ) -> None:
        self._settings = settings
        self._fit = fit

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
        times = np.arange(2 * MIN_POINTS, dtype=np.float64) * self._settings.step_s
        series = clean(times, 1.0 + times % 7.0, self._settings.step_s)
        answer = self._prophet_points(series, times[-1:], Kind.RATE)
        return answer if isinstance(answer, str) else None

    def _best(
        self, name: str, series: Series, horizon_s: float, now: float, kind: Kind
    ) -> Forecast:
        horizon = grid_after(now, horizon_s, series.step_s)
        reason = self._why_not_prophet(series)
        if reason is None:
            answer = self._prophet_points(series, horizon, kind)
            if not isinstance(answer, str):
                return Forecast(name, now, "prophet", answer)
            reason = answer
        model, points = seasonal.forecast(series, horizon, kind)
        return Forecast(name, now, model, points, note=reason)

    def _why_not_prophet(self, series: Series) -> str | None:
        if not self._settings.use_prophet:
            return "prophet is switched off"
        if len(series) < MIN_POINTS:
            return f"too short for prophet: {len(series)} points, {MIN_POINTS} needed"
        return "constant series" if series.constant else None

    def _prophet_points(
        self, series: Series, horizon: FloatArray, kind: Kind
    ) -> tuple[ForecastPoint, ...] | str:
        """The points, or why there are none."""
        chosen = self._settings
        request = FitRequest(series, horizon, kind, chosen.time_limit_s, chosen.seed)
        try:
            points = self._fit(request)
        except TimeoutError:
            return f"prophet timed out after {chosen.time_limit_s:g} s"
        except (ChildError, OSError, ValueError, TypeError) as error:
            return f"prophet failed: {error}"
        usable = len(points) == len(horizon) and all(_finite(point) for point in points)
        return points if usable else "prophet gave no finite forecast"


def _finite(point: ForecastPoint) -> bool:
    return bool(np.all(np.isfinite((point.value, point.low, point.high))))
