"""The benchmark's scoring rules on cases that can be checked by hand; the walk over a series."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast.anomaly import DetectorRules
from autotuner.forecast.series import FloatArray
from experiments.studies.nab.corpus import Labelled, drawn, read
from experiments.studies.nab.detecting import REFIT_POINTS, episodes, outside_interval
from experiments.studies.nab.scoring import (
    SeriesScore,
    normalised,
    probation,
    scored,
    sigmoid,
)

POINTS = 1000  # 150 of them probation
WINDOW = (400, 499)


def test_positions_weigh_what_the_paper_says() -> None:
    assert sigmoid(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert sigmoid(-0.5) == pytest.approx(0.84828, abs=1e-5)
    assert sigmoid(0.0) == 0.0
    assert sigmoid(1.0) == pytest.approx(-0.98661, abs=1e-5)
    assert sigmoid(3.0) == -1.0


def test_probation_is_a_share_with_an_upper_bound() -> None:
    assert [probation(n) for n in (1000, 4033, 22_695)] == [150, 604, 750]


def test_a_perfect_detector_has_100_and_a_silent_one_0() -> None:
    perfect = scored(POINTS, [WINDOW, (700, 799)], [400, 700])
    silent = scored(POINTS, [WINDOW, (700, 799)], [])
    assert perfect == SeriesScore(raw=2.0, windows=2, hits=2, false_alerts=0)
    assert silent == SeriesScore(raw=-2.0, windows=2, hits=0, false_alerts=0)
    assert normalised([perfect, perfect]) == pytest.approx(100.0)
    assert normalised([silent]) == 0.0


def test_the_earliest_alert_of_a_window_counts_alone() -> None:
    late = scored(POINTS, [WINDOW], [450])
    assert late.raw == pytest.approx(0.84828 / 0.98661, abs=1e-4)
    assert scored(POINTS, [WINDOW], [450, 451, 499]) == late
    assert scored(POINTS, [WINDOW], [499, 450]) == late
    last = scored(POINTS, [WINDOW], [499])
    assert last.raw == pytest.approx(sigmoid(-0.01) / sigmoid(-1.0))


@pytest.mark.parametrize(
    ("alert", "cost"),
    [(300, 0.11), (999, 0.11), (500, 0.11 * -sigmoid(1 / 99)), (598, 0.11 * 0.98661)],
)
def test_a_false_alert_costs_less_just_after_a_window(alert: int, cost: float) -> None:
    score = scored(POINTS, [WINDOW], [400, alert])
    assert score.raw == pytest.approx(1.0 - cost, abs=1e-5)
    assert score.false_alerts == 1


def test_every_false_alert_counts_and_nothing_in_probation() -> None:
    assert scored(POINTS, [WINDOW], range(200, 300)).raw == pytest.approx(-1.0 - 11.0)
    assert scored(POINTS, [WINDOW], range(150)).raw == -1.0
    assert scored(POINTS, [(100, 149), WINDOW], [400]).windows == 1
    half = scored(POINTS, [(100, 199), WINDOW], [149, 150, 400])
    assert (half.windows, half.hits, half.false_alerts) == (2, 2, 0)
    assert half.raw == pytest.approx(1.0 + sigmoid(-0.5) / sigmoid(-1.0))


def test_scores_of_series_without_windows_still_count() -> None:
    noisy = scored(POINTS, [], [200, 300])
    assert noisy == SeriesScore(raw=-0.22, windows=0, hits=0, false_alerts=2)
    perfect = scored(POINTS, [WINDOW], [400])
    assert normalised([perfect, noisy]) == pytest.approx(89.0)
    with pytest.raises(ValueError, match="no labelled window"):
        normalised([noisy])


def test_the_textbook_rule_alerts_at_every_point_outside() -> None:
    times = np.arange(POINTS, dtype=np.float64) * 300.0
    values: FloatArray = np.full(POINTS, 10.0, dtype=np.float64)
    values[[10, 200, 201, 900]] = 20.0
    series = Labelled("here", "x", times, values, ())
    made = [
        Forecast("x", 0.0, "prophet", tuple(ForecastPoint(float(t), 10.0, 9.0, 11.0) for t in part))
        for part in np.split(times[150:], range(REFIT_POINTS, 850, REFIT_POINTS))
    ]
    assert outside_interval(series, made) == [200, 201, 900]
    without = [made[0], None, None]
    assert outside_interval(series, without) == [200, 201]


def test_the_shipped_rule_finds_what_is_drawn() -> None:
    (series,) = drawn(seed=1, count=1)
    pattern = 100.0 + 20.0 * np.sin(2 * np.pi * series.times / 86_400.0)
    points = [
        ForecastPoint(float(t), float(p), 0.0, 0.0)
        for t, p in zip(series.times, pattern, strict=True)
    ]
    forecasts = [Forecast("x", 0.0, "prophet", tuple(points))] * 5
    told = episodes(series, forecasts, DetectorRules())
    score = scored(len(series.times), series.windows, told)
    assert (score.hits, score.windows) == (2, 2)
    assert score.false_alerts <= 1


def test_labels_become_indices_even_where_a_clock_was_set_back(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "data" / "realKnownCause").mkdir(parents=True)
    minutes = (0, 5, 10, 5, 10, 15)
    stamps = [f"2014-03-09 02:{minute:02d}:00" for minute in minutes]
    rows = "".join(f"{stamp},{i}.5\n" for i, stamp in enumerate(stamps))
    (tmp_path / "data" / "realKnownCause" / "a.csv").write_text("timestamp,value\n" + rows)
    windows = {"realKnownCause/a.csv": [[f"{stamps[1]}.000000", f"{stamps[5]}.000000"]]}
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    (series,) = read(tmp_path)
    assert (series.folder, series.name, series.windows) == ("realKnownCause", "a", ((1, 5),))
    assert series.values.tolist() == [i + 0.5 for i in range(6)]
    assert series.step_s == 300.0
    assert read(tmp_path / "nowhere") == []
    assert not math.isnan(series.times.sum())
