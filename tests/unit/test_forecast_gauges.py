from __future__ import annotations

import math

from prometheus_client import CollectorRegistry

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast.coverage import Coverage
from autotuner.forecast_gauges import ForecastGauges

FORECAST = Forecast(
    "rps",
    1000.0,
    "seasonal",
    (ForecastPoint(1200.0, 5.0, 4.0, 6.0), ForecastPoint(1500.0, 7, 6, 8)),
)


def shown(now: float, coverages: dict[str, Coverage]) -> CollectorRegistry:
    registry = CollectorRegistry()
    gauges = ForecastGauges(registry)
    gauges.show("t", {"rps": FORECAST}, coverages, 0.99, now)
    return registry


def read(registry: CollectorRegistry, name: str, **labels: str) -> float:
    value = registry.get_sample_value(
        f"autotuner_forecast_{name}", {"target": "t", "series": "rps", **labels}
    )
    assert value is not None
    return value


def test_what_is_expected_now_and_how_well_intervals_held() -> None:
    registry = shown(1490.0, {"rps": Coverage((True, True, True, False))})
    names = ("value", "low", "high", "coverage", "covered_points", "nominal_coverage")
    assert [read(registry, name) for name in names] == [7.0, 6.0, 8.0, 0.75, 4.0, 0.99]
    assert read(registry, "made_timestamp_seconds") == 1000.0
    assert read(registry, "model", model="seasonal") == 1.0
    assert read(registry, "model", model="prophet") == 0.0


def test_what_is_unknown_is_not_zero() -> None:
    registry = shown(9999.0, {})
    assert all(math.isnan(read(registry, name)) for name in ("value", "low", "high", "coverage"))
    assert read(registry, "covered_points") == 0.0
