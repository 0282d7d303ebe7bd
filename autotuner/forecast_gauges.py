"""Forecasts as Prometheus gauges: what is expected now, and whether the intervals keep to it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from autotuner.domain.forecasts import Forecast
from autotuner.forecast.coverage import Coverage

MODELS = ("prophet", "seasonal", "robust", "none")


class ForecastGauges:
    """One set of gauges for all targets and series; not-a-number where nothing is known."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *more: str) -> Gauge:
            return Gauge(f"autotuner_forecast_{name}", text, ["target", "series", *more],
                         registry=registry)  # fmt: skip

        self._value = gauge("value", "What is expected of the series now")
        self._low = gauge("low", "Lower end of the interval of what is expected now")
        self._high = gauge("high", "Upper end of the interval of what is expected now")
        self._nominal = gauge("nominal_coverage", "Share of values that intervals are to hold")
        self._coverage = gauge("coverage", "Share of the last values that their interval held")
        self._points = gauge("covered_points", "Values that the coverage was counted over")
        self._made = gauge("made_timestamp_seconds", "When the forecast was made")
        self._model = gauge("model", "1 for the model in use, 0 for the others", "model")

    def show(
        self,
        target: str,
        forecasts: Mapping[str, Forecast],
        coverages: Mapping[str, Coverage],
        nominal: float,
        now: float,
    ) -> None:
        """Sets the gauges of each series that has a forecast; `now` in UTC seconds."""
        for series, forecast in forecasts.items():
            self._expected(target, series, forecast, now)
            coverage = coverages.get(series, Coverage())
            self._nominal.labels(target, series).set(nominal)
            self._coverage.labels(target, series).set(coverage.share)
            self._points.labels(target, series).set(coverage.points)

    def _expected(self, target: str, series: str, forecast: Forecast, now: float) -> None:
        point = forecast.at(now)
        figures = (point.value, point.low, point.high) if point else (math.nan,) * 3
        gauges = (self._value, self._low, self._high)
        for gauge, figure in zip(gauges, figures, strict=True):
            gauge.labels(target, series).set(figure)
        self._made.labels(target, series).set(forecast.made_at)
        for model in MODELS:
            self._model.labels(target, series, model).set(float(model == forecast.model))
