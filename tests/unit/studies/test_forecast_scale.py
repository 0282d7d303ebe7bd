"""The forecasts' study of scale: its series, its arithmetic, and how it watches a process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast.backtest import Tried
from autotuner.forecast.bands import Kind
from autotuner.forecast.fit_job import FitRequest
from autotuner.forecast.fits import Fitted
from autotuner.forecast.series import DAY_S, clean
from autotuner.forecast.service import Forecaster, ForecastSettings
from experiments.studies.forecast_scale.made import KINDS, NOW, past
from experiments.studies.forecast_scale.refit import (
    ANSWERED,
    Counted,
    Job,
    forecast_all,
    kept_bytes,
)
from experiments.studies.forecast_scale.scoring import STEP_S, kept, us_per_point
from experiments.studies.forecast_scale.study import FINER, LONGER, checks, exponent, growth
from experiments.studies.forecast_scale.watched import (
    Peak,
    high_water,
    tree_cpu_s,
    watched,
    with_own_memory,
)
from experiments.studies.worker_soak.watch import resident_mib

NINE_DAYS = Job(6, 216, 3600.0, horizon_steps=5, processes=2, seed=1)


def test_a_series_is_the_same_again_and_no_other_ones() -> None:
    first, again, other = (past(n, 500, 300.0, seed=3) for n in (1, 1, 5))
    np.testing.assert_array_equal(first.values, again.values)
    assert first.kind is other.kind
    assert not np.isin(first.values, other.values).any()


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_a_series_is_what_its_kind_can_be_and_has_gaps(number: int) -> None:
    made = past(number, 4032, 300.0, seed=0)
    values = np.asarray(made.values)
    assert made.kind is KINDS[number]
    assert values.min() >= 0.0
    assert made.kind is not Kind.SHARE or values.max() <= 1.0
    series = clean(made.times, values, 300.0, start=NOW - 14 * DAY_S, end=NOW)
    assert 0.9 * 4032 < len(series) < 4032
    assert 0 < np.diff(series.times).max() / 300.0 - 1 <= 3 * 0.03 * 4032
    assert not series.constant


def test_a_series_has_a_season_of_a_day() -> None:
    made = past(0, 14 * 288, 300.0, seed=0)
    values, days = np.asarray(made.values), np.asarray(made.times) / DAY_S
    wave = np.exp(2j * np.pi * np.outer((1.0, 0.73), days)) @ (values - values.mean())
    assert abs(wave[0]) > 5 * abs(wave[1])


class Fits:
    """Answers each request with a perfect curve, the first of each call too late."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, requests: Sequence[FitRequest]) -> Sequence[Fitted]:
        with self._lock:
            self.sizes.append(len(requests))
        return [TimeoutError(), *map(self._one, requests[1:])]

    @staticmethod
    def _one(request: FitRequest) -> Tried:
        points = tuple(ForecastPoint(float(at), 0.5, 0.4, 0.6) for at in request.horizon)
        return Tried("prophet", points, -1.0)


def test_series_are_forecast_by_target_in_order_and_counted_by_how_they_ended() -> None:
    fits = Fits()
    counted = Counted(fits)
    settings = ForecastSettings(step_s=3600.0, window_s=216 * 3600.0)
    made = forecast_all(Forecaster(settings, fit_many=counted), NINE_DAYS)
    assert [one.series for one in made] == [past(n, 216, 3600.0, 1).name for n in range(6)]
    assert sorted(fits.sizes) == [2, 4]
    assert [one.model == "prophet" for one in made] == [False, True, True, True, False, True]
    assert counted.ended == {"TimeoutError": 2, ANSWERED: 4}
    assert {len(one.points) for one in made} == {6}


def test_kept_forecasts_are_weighed_with_their_points() -> None:
    small, large = (Forecast("a", 0.0, "m", kept(points).points) for points in (10, 1000))
    assert 990 * 4 * 24 < kept_bytes([large]) - kept_bytes([small]) < 990 * 1000
    assert kept_bytes([large] * 3) == pytest.approx(3 * kept_bytes([large]), rel=0.05)


def test_an_exponent_is_the_slope_of_logarithms() -> None:
    assert exponent([10, 100, 1000], [3 * n**1.5 for n in (10, 100, 1000)]) == pytest.approx(1.5)


def test_every_scored_point_lies_within_the_forecast() -> None:
    forecast = kept(50)
    assert forecast.at(forecast.points[-1].at) == forecast.points[-1]
    assert forecast.step_s == STEP_S
    assert us_per_point(50, 20, seed=0) > 0.0


def rows(*, wall_s: float, answered: int, peak_mib: float = 300.0) -> list[dict[str, Any]]:
    """Time in proportion to series; to the square of points in one way, to points in the other."""
    series = [
        {
            "part": "series",
            "series": n,
            "start_s": 4.0,
            "wall_s": wall_s * n / 100,
            "cpu_s": float(n),
            "fits": {ANSWERED: answered * n // 100},
            "peak_mib": peak_mib,
        }
        for n in (10, 100)
    ]
    points = [
        {"part": way, "series": 5, "points": n, "cpu_s": 5.0 * n**power}
        for way, power in ((FINER, 1), (LONGER, 2))
        for n in (500, 1000)
    ]
    scoring = [{"part": "scoring", "forecast_points": n, "us_per_point": 9.0} for n in (12, 1200)]
    return [*series, *points, *scoring]


def test_claims_follow_from_the_rows() -> None:
    whole, memory, by_series, finer, longer, answered = checks(rows(wall_s=80.0, answered=94))
    assert (whole["value"], whole["holds"]) == (pytest.approx(804.0), True)
    assert (memory["value"], memory["holds"]) == (300.0, True)
    assert (by_series["value"], by_series["holds"]) == (pytest.approx(1.0), True)
    assert (finer["value"], finer["holds"]) == (pytest.approx(1.0), True)
    assert (longer["value"], longer["holds"]) == (pytest.approx(2.0), False)
    assert (answered["value"], answered["holds"]) == (pytest.approx(0.94), False)


def test_too_slow_and_too_large_are_told() -> None:
    whole, memory, *_ = checks(rows(wall_s=90.0, answered=100, peak_mib=2049.0))
    assert (whole["holds"], memory["holds"]) == (False, False)


def test_scoring_that_does_not_grow_has_the_exponent_0() -> None:
    found = growth(rows(wall_s=1.0, answered=100))
    assert found["scoring with the forecast's points"] == pytest.approx(0.0)


def test_the_last_two_sizes_are_looked_at_alone() -> None:
    made = rows(wall_s=1.0, answered=100)
    made += [{"part": FINER, "series": 5, "points": 2000, "cpu_s": 5.0 * 8000.0}]
    found = growth(made)
    assert found[f"cpu_s with points, {FINER}, last two"] == pytest.approx(3.0)
    assert 1.0 < found[f"cpu_s with points, {FINER}"] < 3.0


def test_the_peak_together_is_that_of_one_moment() -> None:
    peak = Peak()
    for moment in ((10.0, 1.0), (2.0, 8.0)):
        peak.see(*moment)
    assert peak == Peak(parent_mib=10.0, children_mib=8.0, together_mib=11.0)


def test_cpu_time_and_memory_are_those_the_process_counts_itself() -> None:
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert tree_cpu_s(os.getpid()) >= time.process_time() - 0.05
    assert high_water(os.getpid()) > 10.0
    assert high_water(2**22 + 1) == 0.0


def test_a_fork_shows_its_parents_memory_and_is_left_out() -> None:
    forks = "import os, sys; child = os.fork(); child and print(child, flush=True); input()"
    with subprocess.Popen(
        (sys.executable, "-c", forks), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        child = int(process.stdout.readline())
        pids = [process.pid, child]
        assert [resident_mib(pid) > 1.0 for pid in pids] == [True, True]
        assert with_own_memory(pids) == [process.pid]
        process.stdin.write("\n\n")


def test_a_process_that_ends_early_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended early"):
        watched("__future__", {})  # a module that writes nothing
