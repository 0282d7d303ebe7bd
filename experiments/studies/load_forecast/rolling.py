"""Forecasts at many origins of one series: the service's choice, its models, the naive ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast import prophet_model, seasonal
from autotuner.forecast.backtest import Curve, Tried, tried
from autotuner.forecast.bands import Kind
from autotuner.forecast.fit_job import FitRequest
from autotuner.forecast.series import FloatArray, Series
from autotuner.forecast.service import Forecaster, ForecastSettings
from experiments.studies.load_forecast.traces import DAY_STEPS, STEP_S, before

CHOSEN = "chosen"
SEASONAL_NAIVE, LAST_VALUE = "seasonal-naive", "last value"
COVERAGES = (0.9, 0.99)
# The first third of what is seen then is more than a day: the least that knows a time of day.
FIRST_ORIGIN = 4 * DAY_STEPS
LONGEST_STEPS = 36
TIME_LIMIT_S = 60.0


@dataclass(frozen=True, eq=False)
class Outcome:
    """One origin: absolute errors by method, each (steps,); whether the intervals held, by share.

    `scale`: mean absolute error of the seasonal-naive forecast within what was seen (Hyndman and
    Koehler, Another look at measures of forecast accuracy, 2006). `width`: mean width of the
    narrower interval. `model`: what was chosen.
    """

    errors: dict[str, FloatArray]
    held: dict[float, FloatArray]
    width: float
    scale: float
    model: str


def _prophet(seen: Series, times: FloatArray) -> FloatArray:
    return prophet_model.curve(seen, times, TIME_LIMIT_S)


class KeptFits:
    """Prophet tried as in the service, in this process; the same fit is never made twice."""

    def __init__(self, curve: Curve = _prophet) -> None:
        self._curve = curve
        self._kept: dict[tuple[int, bytes], tuple[float, FloatArray]] = {}

    def fit(self, request: FitRequest) -> Tried:
        return tried(
            "prophet", request.series, request.horizon, request.kind, self.curve, request.coverage
        )

    def curve(self, seen: Series, times: FloatArray) -> FloatArray:
        """What Prophet expects, looked up in one prediction of all that may be asked for."""
        key = (len(seen), seen.values.tobytes())
        if key not in self._kept:
            steps = len(seen) // 2 + DAY_STEPS
            grid = seen.times[-1] + STEP_S * np.arange(steps, dtype=np.float64)
            self._kept[key] = float(grid[0]), self._curve(seen, grid)
        start, values = self._kept[key]
        places = np.round((times - start) / STEP_S).astype(np.intp)
        return np.asarray(values[places], dtype=np.float64)


def origins(series: Series, every_steps: int) -> range:
    return range(FIRST_ORIGIN, len(series) - LONGEST_STEPS + 1, every_steps)


def outcomes(
    series: Series, steps: int, every_steps: int, fits: Callable[[], KeptFits] = KeptFits
) -> Iterator[Outcome]:
    """The outcome of each origin, `steps` values ahead."""
    for end in origins(series, every_steps):
        yield _outcome(before(series, end), series.values[end : end + steps], fits())


def _outcome(seen: Series, truth: FloatArray, fits: KeptFits) -> Outcome:
    steps, errors = len(truth), naive_errors(seen, truth)
    held: dict[float, FloatArray] = {}
    width, model = 0.0, ""
    for coverage in COVERAGES:
        found = _chosen(fits, seen, steps, coverage)
        held[coverage] = np.array(
            [p.low <= y <= p.high for p, y in zip(found.points, truth, strict=True)], dtype=float
        )
        if coverage == COVERAGES[0]:
            errors[CHOSEN], model = _errors(found.points, truth), found.model
            width = float(np.mean([p.high - p.low for p in found.points]))
    for found in _single(fits, seen, steps):
        errors[found.model] = _errors(found.points, truth)
    by_day = np.abs(seen.values[DAY_STEPS:] - seen.values[:-DAY_STEPS])
    return Outcome(errors, held, width, float(by_day.mean()), model)


def naive_errors(seen: Series, truth: FloatArray) -> dict[str, FloatArray]:
    """What came at the same time yesterday, and the last value carried on."""
    yesterday = seen.values[len(seen) - DAY_STEPS :][: len(truth)]
    return {
        SEASONAL_NAIVE: np.abs(truth - yesterday),
        LAST_VALUE: np.abs(truth - seen.values[-1]),
    }


def _chosen(fits: KeptFits, seen: Series, steps: int, coverage: float) -> Tried:
    """As the service forecasts: made when the last step has just ended."""
    forecaster = Forecaster(ForecastSettings(step_s=STEP_S, coverage=coverage), fits.fit)
    now = float(seen.times[-1]) + STEP_S
    found = forecaster.forecast(
        "rate", seen.times, seen.values, (steps - 1) * STEP_S, now, Kind.RATE
    )
    return Tried(found.model, found.points, 0.0)


def _single(fits: KeptFits, seen: Series, steps: int) -> Iterator[Tried]:
    """Each model by itself; Prophet also without the carrying on of the last deviation."""
    horizon = seen.times[-1] + STEP_S * np.arange(1, steps + 1, dtype=np.float64)
    curves = {"prophet": fits.curve, "seasonal": seasonal.daily, "robust": seasonal.level}
    for model, curve in curves.items():
        yield tried(model, seen, horizon, Kind.RATE, curve, COVERAGES[0])
    plain = fits.curve(seen, horizon)
    rows = zip(horizon, plain, strict=True)
    points = tuple(ForecastPoint(float(at), float(y), float(y), float(y)) for at, y in rows)
    yield Tried("prophet alone", points, 0.0)


def _errors(points: tuple[ForecastPoint, ...], truth: FloatArray) -> FloatArray:
    forecast = np.array([p.value for p in points], dtype=np.float64)
    return np.asarray(np.abs(forecast - truth), dtype=np.float64)
