from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.forecasts import AnomalyScore, Forecast, ForecastPoint
from autotuner.forecast.anomaly import DetectorRules, DetectorState, score_point

STEP_S = 300.0


def flat_forecast(half: float = 1.0, model: str = "prophet", steps: int = 3000) -> Forecast:
    """Expects 10 ± half at every step."""
    points = tuple(ForecastPoint(i * STEP_S, 10.0, 10.0 - half, 10.0 + half) for i in range(steps))
    return Forecast("ttft", 0.0, model, points)


FLAT = flat_forecast()
RULES = DetectorRules()


def run(
    values: Iterable[float],
    forecast: Forecast | None = FLAT,
    rules: DetectorRules = RULES,
) -> list[AnomalyScore]:
    state, scores = DetectorState(), []
    for i, value in enumerate(values):
        state, score = score_point(state, "ttft", i * STEP_S, value, forecast, rules)
        scores.append(score)
    return scores


def told(scores: list[AnomalyScore]) -> list[int]:
    return [i for i, s in enumerate(scores) if s.anomalous and not s.suppressed]


def test_the_score_is_the_distance_in_half_widths() -> None:
    (score,) = run([12.0])
    assert (score.expected, score.score, score.value) == (10.0, 2.0, 12.0)


def test_each_side_of_the_band_has_its_own_width() -> None:
    lopsided = Forecast("x", 0.0, "prophet", (ForecastPoint(0.0, 10.0, 9.0, 14.0),))
    assert run([12.0], lopsided)[0].score == 0.5
    assert run([8.0], lopsided)[0].score == 2.0


def test_a_band_without_width_still_bears_one_percent() -> None:
    scores = run([10.05, 10.2], flat_forecast(half=0.0))
    assert [s.score for s in scores] == pytest.approx([0.5, 2.0])
    assert told(scores) == []


def test_one_hard_point_is_an_anomaly() -> None:
    assert told(run([10.0, 10.0, 13.1])) == [2]


def test_one_soft_point_is_none_but_two_of_three_are() -> None:
    assert told(run([10.0, 12.0, 10.0, 10.0, 10.0])) == []
    assert told(run([10.0, 12.0, 10.0, 12.5])) == []  # 2.5 is below 1.5 times the largest before
    assert told(run([10.0] * 300 + [12.0, 10.0, 12.5])) == [302]
    assert told(run([10.0] * 600 + [12.0, 12.0])) == [601]


def test_votes_far_apart_do_not_count_together() -> None:
    state = DetectorState()
    quiet = [(i * STEP_S, 10.0) for i in range(600)]
    late = [(600 * STEP_S, 12.0), (620 * STEP_S, 12.0)]
    scores = []
    for at, value in quiet + late:
        state, score = score_point(state, "x", at, value, FLAT)
        scores.append(score)
    assert told(scores) == []


def test_a_noisy_series_raises_its_own_threshold() -> None:
    noisy = [10.0 + (2.0 if i % 20 == 0 else 0.3) for i in range(400)]
    assert told(run([*noisy, 12.5, 12.5])) == []
    assert told(run([*noisy, 13.2])) == [400]


def test_an_episode_is_told_once() -> None:
    scores = run([10.0] * 10 + [15.0] * 20)
    assert told(scores) == [10]
    assert all(s.suppressed for s in scores[11:])


def test_after_six_hours_outside_it_is_told_again() -> None:
    assert told(run([10.0] * 10 + [15.0] * 80)) == [10, 82]


def test_an_hour_inside_ends_the_silence() -> None:
    assert told(run([15.0] + [10.0] * 13 + [15.0])) == [0, 14]
    assert told(run([15.0] + [10.0] * 10 + [15.0])) == [0]
    assert told(run([15.0] + [10.0] * 6 + [11.2] + [10.0] * 6 + [15.0])) == [0]


def test_the_silence_is_configurable() -> None:
    short = DetectorRules(refractory_s=600.0)
    assert told(run([15.0] * 5, rules=short)) == [0, 2, 4]


def test_without_history_nothing_is_anomalous() -> None:
    assert told(run([1.0, 1e9, -1e9, 5.0] * 7, forecast=None)) == []


def test_without_a_forecast_a_robust_z_judges() -> None:
    values = np.random.default_rng(0).normal(100.0, 1.0, 500).tolist()
    scores = run([*values, 115.0], forecast=None)
    assert told(scores) == [500]
    assert scores[-1].expected == pytest.approx(100.0, abs=0.5)
    assert scores[-1].score == pytest.approx(15.0 / 2.0, rel=0.3)


def test_quiet_noise_is_told_rarely_without_a_forecast() -> None:
    values = np.random.default_rng(3).normal(100.0, 1.0, 2000).tolist()
    assert len(told(run(values, forecast=None))) <= 1


def test_a_constant_series_bears_jitter_without_a_forecast() -> None:
    assert told(run([5.0] * 200 + [5.04] * 3, forecast=None)) == []


@pytest.mark.parametrize("model", ["robust", "none"])
def test_a_model_without_history_is_no_forecast(model: str) -> None:
    assert told(run([1000.0], flat_forecast(model=model))) == []


def test_outside_the_forecast_the_robust_z_judges() -> None:
    short = flat_forecast(steps=3)
    assert told(run([10.0] * 4 + [99.0] * 20, short)) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_changes_nothing(value: float) -> None:
    state, _ = score_point(DetectorState(), "x", 0.0, 10.0, FLAT)
    after, score = score_point(state, "x", STEP_S, value, FLAT)
    assert after is state
    assert math.isnan(score.score)
    assert not score.anomalous


def test_a_point_seen_twice_counts_once() -> None:
    state, _ = score_point(DetectorState(), "x", 0.0, 10.0, FLAT)
    after, score = score_point(state, "x", 0.0, 99.0, FLAT)
    assert after is state
    assert not score.anomalous


def test_memory_is_bounded_by_count_and_age() -> None:
    rules = DetectorRules(history_points=50, level_points=40)
    state = DetectorState()
    for i in range(200):
        state, _ = score_point(state, "x", i * STEP_S, 10.0, FLAT, rules)
    assert (len(state.scored), len(state.values)) == (50, 40)
    state, _ = score_point(state, "x", 190 * STEP_S + 7 * 86_400.0, 10.0, FLAT, rules)
    assert all(s.at > 190 * STEP_S for s in state.scored)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=80), st.booleans())
def test_scoring_is_pure_and_scores_are_never_negative(values: list[float], known: bool) -> None:
    forecast = FLAT if known else None
    first, second = run(values, forecast), run(values, forecast)
    assert [replace(s, value=0.0, score=0.0, expected=0.0) for s in first] == [
        replace(s, value=0.0, score=0.0, expected=0.0) for s in second
    ]
    assert all(math.isnan(s.score) or s.score >= 0 for s in first)
    assert all(s.anomalous or not s.suppressed for s in first)


@given(st.lists(st.floats(9.0, 11.0), max_size=100))
def test_inside_the_band_nothing_is_anomalous(values: list[float]) -> None:
    assert not any(s.anomalous for s in run(values))
