"""Forecasts for the daemon: the model that does best on each series, Prophet one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast import seasonal
from autotuner.forecast.backtest import HELD_OUT_SHARE, Tried, enough, tried
from autotuner.forecast.bands import Kind
from autotuner.forecast.fit_job import FitRequest, fit_in_child
from autotuner.forecast.fits import Fit, FitMany, Fitted, one_by_one
from autotuner.forecast.prophet_model import MIN_POINTS
from autotuner.forecast.series import DAY_S, FloatArray, Series, Times, clean, grid_after

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


@dataclass(frozen=True, eq=False)
class Past:
    """One series to forecast: its times (UTC seconds) and values, and what kind it is."""

    name: str
    times: Times
    values: ArrayLike
    kind: Kind


@dataclass(frozen=True, eq=False)
class _Ready:
    """A series that can be forecast; `request` is None where `reason` says why not by Prophet."""

    name: str
    series: Series
    horizon: FloatArray
    kind: Kind
    request: FitRequest | None
    reason: str | None


class Forecaster:
    """Forecasts series. May block for `time_limit_s` for each; safe to call from threads.

    `fit_many` fits several series at once; without it they are fitted by `fit`, one by one.
    """

    def __init__(
        self,
        settings: ForecastSettings = ForecastSettings(),
        fit: Fit = fit_in_child,
        fit_many: FitMany | None = None,
    ) -> None:
        self._settings = settings
        self._fit_many = fit_many or one_by_one(fit)

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
        past = Past(series_name, times, values, kind)
        return self.forecast_many([past], horizon_s, now)[0]

    def forecast_many(
        self, pasts: Sequence[Past], horizon_s: float, now: float
    ) -> tuple[Forecast, ...]:
        """As `forecast` of each, in their order, with the fits asked for in one call."""
        ready = [self._ready(past, horizon_s, now) for past in pasts]
        requests = [r.request for r in ready if isinstance(r, _Ready) and r.request is not None]
        fitted = iter(self._fit_many(requests))
        return tuple(
            one
            if isinstance(one, Forecast)
            else self._best(one, next(fitted) if one.request is not None else None, now)
            for one in ready
        )

    def probe(self) -> str | None:
        """Why Prophet can't be used here, found by a small fit; None when it can."""
        times = np.arange(2 * PROPHET_POINTS, dtype=np.float64) * self._settings.step_s
        series = clean(times, 1.0 + times % 7.0, self._settings.step_s)
        (fitted,) = self._fit_many([self._request(series, times[-1:], Kind.RATE)])
        answer = self._prophet(fitted, 1)
        return answer if isinstance(answer, str) else None

    def _ready(self, past: Past, horizon_s: float, now: float) -> _Ready | Forecast:
        """What is to be fitted, or the forecast of a series without usable data."""
        chosen = self._settings
        start = now - chosen.window_s
        try:
            series = clean(past.times, past.values, chosen.step_s, start=start, end=now)
        except ValueError as error:
            return Forecast(past.name, now, "none", (), note=str(error))
        if len(series) == 0:
            note = f"no finite value in the last {chosen.window_s / DAY_S:g} days"
            return Forecast(past.name, now, "none", (), note=note)
        horizon = grid_after(now, horizon_s, series.step_s)
        reason = self._why_not_prophet(series)
        wanted = reason is None and enough(series)
        request = self._request(series, horizon, past.kind) if wanted else None
        return _Ready(past.name, series, horizon, past.kind, request, reason)

    def _best(self, ready: _Ready, fitted: Fitted | None, now: float) -> Forecast:
        series, horizon, reason = ready.series, ready.horizon, ready.reason
        if not enough(series):
            model, points = seasonal.forecast(series, horizon, ready.kind)
            return Forecast(ready.name, now, model, points, note=reason or "")
        found = self._simple(series, horizon, ready.kind)
        if fitted is not None:
            answer = self._prophet(fitted, len(horizon))
            if isinstance(answer, str):
                reason = answer
            else:
                found = [*found, answer]
        best = min(found, key=lambda one: one.error)  # of equals the simplest
        return Forecast(ready.name, now, best.model, best.points, note=_note(reason, found))

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

    def _request(self, series: Series, horizon: FloatArray, kind: Kind) -> FitRequest:
        chosen = self._settings
        return FitRequest(series, horizon, kind, chosen.time_limit_s, chosen.coverage)

    def _prophet(self, fitted: Fitted, points: int) -> Tried | str:
        """What Prophet gave for that many points, or why it gave nothing."""
        if isinstance(fitted, TimeoutError):
            return f"prophet timed out after {self._settings.time_limit_s:g} s"
        if isinstance(fitted, Exception):
            return f"prophet failed: {fitted}"
        usable = len(fitted.points) == points and all(map(_finite, fitted.points))
        return fitted if usable and np.isfinite(fitted.error) else "prophet gave no finite forecast"


def _finite(point: ForecastPoint) -> bool:
    return bool(np.all(np.isfinite((point.value, point.low, point.high))))


def _note(reason: str | None, found: Sequence[Tried]) -> str:
    """What was left out and why, and how those that were compared did."""
    ranked = sorted(found, key=lambda one: one.error)
    errors = ", ".join(f"{one.model} {one.error:.3g}" for one in ranked)
    compared = f"error on the held-out end: {errors}" if len(found) > 1 else None
    return "; ".join(part for part in (reason, compared) if part)
