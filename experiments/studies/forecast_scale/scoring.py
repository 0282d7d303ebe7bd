"""What it takes to score one new point against a kept forecast of many points."""

from __future__ import annotations

import time

import numpy as np

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast.anomaly import DetectorState, score_point
from experiments.studies.forecast_scale.made import NOW

STEP_S = 300.0
_TRIES = 3


def kept(points: int) -> Forecast:
    """A forecast of that many points from `NOW` on."""
    rows = ((NOW + STEP_S * i, 10.0 + i % 5) for i in range(points))
    made = tuple(ForecastPoint(at, value, value - 1.0, value + 1.0) for at, value in rows)
    return Forecast("made up", NOW, "prophet", made)


def us_per_point(forecast_points: int, scored: int, seed: int) -> float:
    """CPU microseconds per scored point, spread over the forecast; the least of three tries."""
    forecast = kept(forecast_points)
    ats = np.linspace(forecast.points[0].at, forecast.points[-1].at, scored).tolist()
    values = np.random.default_rng(seed).normal(12.0, 1.0, scored).tolist()
    tries = []
    for _ in range(_TRIES):
        state, began = DetectorState(), time.process_time()
        for at, value in zip(ats, values, strict=True):
            state, _score = score_point(state, forecast.series, at, value, forecast)
        tries.append(time.process_time() - began)
    return min(tries) / scored * 1e6
