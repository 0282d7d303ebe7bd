from __future__ import annotations

import math

import pytest

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast.coverage import KEPT_POINTS, Coverage

FORECAST = Forecast(
    "rps", 100.0, "seasonal", tuple(ForecastPoint(60.0 * k, 5.0, 4.0, 6.0) for k in (1, 2, 3))
)


def test_the_share_of_values_inside_the_interval() -> None:
    coverage = Coverage()
    for at, value in ((120.0, 4.0), (180.0, 6.1)):
        coverage = coverage.seen(FORECAST, at, value)
    assert (coverage.points, coverage.share) == (2, 0.5)


@pytest.mark.parametrize(("at", "value"), [(120.0, math.nan), (900.0, 5.0), (0.0, 5.0)])
def test_what_says_nothing_of_the_forecast_does_not_count(at: float, value: float) -> None:
    assert Coverage().seen(FORECAST, at, value) == Coverage()


def test_without_a_forecast_or_a_value_nothing_is_known() -> None:
    assert Coverage().seen(None, 120.0, 5.0) == Coverage()
    assert math.isnan(Coverage().share)


def test_old_values_are_forgotten() -> None:
    coverage = Coverage((False,) * KEPT_POINTS)
    assert coverage.seen(FORECAST, 120.0, 5.0).inside.count(False) == KEPT_POINTS - 1
