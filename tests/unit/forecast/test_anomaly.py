from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.forecasts import AnomalyScore, Forecast, ForecastPoint
from autotuner.forecast.anomaly import DetectorRules, DetectorState, score_point

STEP_S = 300.0
DAY = 288  # points
RULES = DetectorRules()


def forecast_of(values: Sequence[float], model: str = "prophet") -> Forecast:
    """Expects `values`, one a step."""
    points = (ForecastPoint(i * STEP_S, v, v - 1.0, v + 1.0) for i, v in enumerate(values))
    return Forecast("ttft", 0.0, model, tuple(points))


def run(
    values: Iterable[float],
    forecast: Forecast | None = None,
    rules: DetectorRules = RULES,
) -> list[AnomalyScore]:
    state, scores = DetectorState(), []
    for i, value in enumerate(values):
        state, score = score_point(state, "ttft", i * STEP_S, value, forecast, rules)
        scores.append(score)
    return scores


def told(scores: list[AnomalyScore]) -> list[int]:
    return [i for i, s in enumerate(scores) if s.anomalous and not s.suppressed]


def noise(points: int, seed: int = 0, level: float = 100.0) -> list[float]:
    return [float(x) for x in np.random.default_rng(seed).normal(level, 1.0, points)]


def waves(points: int) -> list[float]:
    """A daily pattern between 50 and 150."""
    return [100.0 + 50.0 * math.sin(2 * math.pi * i / DAY) for i in range(points)]


def test_quiet_noise_is_not_told() -> None:
    assert sum(len(told(run(noise(2 * DAY, seed)))) for seed in range(5)) <= 1


def test_a_spike_is_told_at_its_first_point() -> None:
    scores = run([*noise(2 * DAY), 130.0, 100.0])
    assert told(scores) == [2 * DAY]
    assert scores[2 * DAY].expected == pytest.approx(100.0, abs=0.5)
    assert scores[2 * DAY].score > 1.0


def test_a_small_shift_is_told_once_it_has_lasted() -> None:
    calm = noise(2 * DAY)
    shifted = [x + 2.0 for x in noise(36, seed=1)]
    assert told(run([*calm, shifted[0], *noise(35, seed=2)])) == []
    (at,) = told(run(calm + shifted))
    assert 2 * DAY + 3 < at < 2 * DAY + 36


def test_an_episode_is_told_once_however_long() -> None:
    scores = run(noise(2 * DAY) + noise(DAY, seed=1, level=150.0))
    assert told(scores) == [2 * DAY]
    assert all(s.suppressed for s in scores[2 * DAY + 1 : 2 * DAY + 20])
    assert not scores[-1].anomalous  # after a day this is what is usual


def test_after_six_hours_of_calm_a_new_episode_is_told() -> None:
    rules = DetectorRules(calm_points=12)
    burst = [200.0]
    values = noise(2 * DAY) + burst + noise(60, seed=1) + burst
    assert told(run(values, rules=rules)) == [2 * DAY, 2 * DAY + 61]
    assert told(run(values)) == [2 * DAY]


def test_after_a_large_spike_a_small_one_is_not_told_but_a_large_one_is() -> None:
    later = 2 * DAY + 120
    small = noise(3 * DAY)
    small[later] = 130.0
    assert told(run(small)) == [later]
    both = [*small[: 2 * DAY], 1000.0, *small[2 * DAY + 1 :]]
    assert told(run(both)) == [2 * DAY]
    both[later] = 900.0
    assert told(run(both)) == [2 * DAY, later]


def test_what_the_forecast_knows_is_told_against_the_forecast() -> None:
    pattern = waves(4 * DAY)
    values = [p + x - 100.0 for p, x in zip(pattern, noise(4 * DAY), strict=True)]
    values[3 * DAY + 72] -= 40.0  # at the daily peak, so that it stays inside the daily range
    assert told(run(values)) == []
    scores = run(values, forecast_of(pattern))
    assert told(scores) == [3 * DAY + 72]
    assert scores[3 * DAY + 72].expected == pytest.approx(150.0)


def test_a_forecast_that_is_always_wrong_alike_is_no_anomaly() -> None:
    biased = forecast_of([p + 25.0 for p in waves(3 * DAY)])
    values = [p + x - 100.0 for p, x in zip(waves(3 * DAY), noise(3 * DAY), strict=True)]
    assert told(run(values, biased)) == []


def test_the_width_of_the_interval_plays_no_part() -> None:
    values = noise(DAY) + [104.0] * 3
    narrow, wide = forecast_of([100.0] * 300), forecast_of([100.0] * 300)
    wide = Forecast(
        "ttft", 0.0, "prophet", tuple(ForecastPoint(p.at, p.value, 0.0, 1e6) for p in wide.points)
    )
    assert run(values, narrow) == run(values, wide)


def test_errors_from_before_a_hole_in_the_forecast_are_forgotten() -> None:
    state = DetectorState()
    for i, value in enumerate(noise(DAY)):
        state, _ = score_point(state, "x", i * STEP_S, value, forecast_of([100.0] * DAY))
    assert len(state.errors.recent) == 36
    state, _ = score_point(state, "x", (DAY + 5) * STEP_S, 100.0, None)
    assert state.errors.recent == ()
    assert state.errors.sudden.known
    assert len(state.values.recent) == 36


def test_without_history_nothing_is_anomalous() -> None:
    assert told(run([1.0, 1e9, -1e9, 5.0] * 17)) == []


def test_a_constant_series_bears_jitter() -> None:
    assert told(run([5.0] * 300 + [5.1] * 3)) == []
    assert told(run([5.0] * 300 + [6.0] * 3)) == [300]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_changes_nothing(value: float) -> None:
    state, _ = score_point(DetectorState(), "x", 0.0, 10.0, None)
    after, score = score_point(state, "x", STEP_S, value, None)
    assert after is state
    assert math.isnan(score.score)
    assert not score.anomalous


def test_a_point_seen_twice_counts_once() -> None:
    state, _ = score_point(DetectorState(), "x", 0.0, 10.0, None)
    after, score = score_point(state, "x", 0.0, 99.0, None)
    assert after is state
    assert not score.anomalous


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=150), st.booleans())
def test_scoring_is_pure_and_scores_are_never_negative(values: list[float], known: bool) -> None:
    forecast = forecast_of([10.0] * 150) if known else None
    first, second = run(values, forecast), run(values, forecast)
    assert repr(first) == repr(second)
    assert all(math.isnan(s.score) or s.score >= 0 for s in first)
    assert all(s.anomalous == (s.score > 1.0) for s in first)
    assert all(s.anomalous or not s.suppressed for s in first)
