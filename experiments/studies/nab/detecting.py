"""Walks a series as the daemon would: forecasts refitted on the way, each point scored once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from autotuner.domain.forecasts import Forecast
from autotuner.forecast.anomaly import DetectorRules, DetectorState, score_point
from autotuner.forecast.bands import Kind
from autotuner.forecast.prophet_model import MIN_POINTS, fit_and_predict
from autotuner.forecast.series import clean
from experiments.studies.nab.corpus import Labelled
from experiments.studies.nab.scoring import probation

REFIT_POINTS = 288  # a day of points of five minutes
PAST_POINTS = 4032  # two weeks of them
_TIME_LIMIT_S = 120.0

# One for each stretch of REFIT_POINTS after probation; None where nothing could be fitted.
Forecasts = Sequence[Forecast | None]


def forecasts_of(series: Labelled) -> Forecasts:
    """Prophet's forecasts, each made from what came before its stretch alone."""
    return [_fitted(series, slice(start, end)) for start, end in _stretches(series)]


def _stretches(series: Labelled) -> Iterator[tuple[int, int]]:
    points = len(series.times)
    for start in range(probation(points), points, REFIT_POINTS):
        yield start, min(start + REFIT_POINTS, points)


def _fitted(series: Labelled, ahead: slice) -> Forecast | None:
    past = slice(max(0, ahead.start - PAST_POINTS), ahead.start)
    known = clean(series.times[past], series.values[past], series.step_s)
    if known.constant or len(known) < MIN_POINTS:
        return None
    grid = np.unique(np.floor(series.times[ahead] / series.step_s)) * series.step_s
    points = fit_and_predict(known, grid, Kind.RATE, time_limit_s=_TIME_LIMIT_S)
    return Forecast(series.name, float(series.times[ahead.start]), "prophet", points)


def _each(series: Labelled, forecasts: Forecasts) -> Iterator[tuple[float, float, Forecast | None]]:
    first = probation(len(series.times))
    for i, (at, value) in enumerate(zip(series.times, series.values, strict=True)):
        forecast = forecasts[(i - first) // REFIT_POINTS] if forecasts and i >= first else None
        yield float(at), float(value), forecast


def episodes(series: Labelled, forecasts: Forecasts, rules: DetectorRules) -> list[int]:
    """The indices at which an episode is told; no forecasts (an empty list) leave one vote."""
    state, told = DetectorState(), []
    for i, (at, value, forecast) in enumerate(_each(series, forecasts)):
        state, score = score_point(state, series.name, at, value, forecast, rules)
        if score.anomalous and not score.suppressed:
            told.append(i)
    return told


def outside_interval(series: Labelled, forecasts: Forecasts) -> list[int]:
    """The textbook rule: every point outside Prophet's 99% interval is an alert."""
    return [
        i
        for i, (at, value, forecast) in enumerate(_each(series, forecasts))
        if forecast and (point := forecast.at(at)) and not point.low <= value <= point.high
    ]
