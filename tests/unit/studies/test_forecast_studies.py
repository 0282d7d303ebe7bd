"""The arithmetic of the forecasts' studies."""

from __future__ import annotations

import numpy as np

from autotuner.forecast.series import FloatArray, Series
from experiments.studies.load_forecast.rolling import (
    CHOSEN,
    FIRST_ORIGIN,
    LAST_VALUE,
    LONGEST_STEPS,
    SEASONAL_NAIVE,
    KeptFits,
    naive_errors,
    origins,
    outcomes,
)
from experiments.studies.load_forecast.traces import DAY_STEPS, START, STEP_S, before
from experiments.studies.load_forecast.traces import made_up as stand_in


def counting(points: int) -> Series:
    steps = np.arange(points, dtype=np.float64)
    return Series(START + STEP_S * steps, steps, STEP_S)


def test_naive_forecasts_are_yesterday_and_the_last_value() -> None:
    errors = naive_errors(counting(300), np.array([300.0, 301.0, 302.0]))
    assert errors[SEASONAL_NAIVE].tolist() == [144.0, 144.0, 144.0]
    assert errors[LAST_VALUE].tolist() == [1.0, 2.0, 3.0]


def test_every_origin_has_the_longest_stretch_ahead() -> None:
    ends = origins(counting(FIRST_ORIGIN + 100), 7)
    assert ends[0] == FIRST_ORIGIN
    assert ends[-1] + LONGEST_STEPS <= FIRST_ORIGIN + 100


def test_a_fit_is_made_once_and_looked_up() -> None:
    asked: list[int] = []

    def curve(seen: Series, times: FloatArray) -> FloatArray:
        asked.append(len(seen))
        return np.asarray(times - START, dtype=np.float64)

    fits, seen = KeptFits(curve), counting(600)
    later = seen.times[-1] + STEP_S * np.array([36.0, 1.0])
    for _ in range(2):
        assert fits.curve(seen, later).tolist() == (later - START).tolist()
    fits.curve(before(seen, 500), later - 200 * STEP_S)
    assert asked == [600, 500]


def test_the_future_is_seen_by_no_forecast() -> None:
    """Another future changes the errors, not what was forecast."""
    flat = KeptFits(lambda seen, times: np.zeros(len(times)))
    series = stand_in("m-small")
    cut = FIRST_ORIGIN + LONGEST_STEPS
    other = series.values.copy()
    other[FIRST_ORIGIN:] += 1000.0
    here, there = (
        next(outcomes(Series(series.times[:cut], values[:cut], STEP_S), 6, 1, lambda: flat))
        for values in (series.values, other)
    )
    assert (here.model, here.width, here.scale) == (there.model, there.width, there.scale)
    assert there.errors[CHOSEN].min() > 500.0 > here.errors[CHOSEN].max()
    assert here.held[0.9].mean() > there.held[0.9].mean() == 0.0


def test_a_day_of_steps_is_a_day() -> None:
    assert DAY_STEPS * STEP_S == 86_400.0
