"""Which new points are anomalous, decided at a bounded cost per point. Pure: state in, state out.

Two votes: the value against its own past, and the forecast's error against its own past.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autotuner.domain.forecasts import AnomalyScore, Forecast
from autotuner.forecast.novelty import Novelty, NoveltyRules, judged
from autotuner.forecast.series import smallest_half_width


@dataclass(frozen=True)
class DetectorRules:
    """When points are anomalous: when the larger vote is above 1.

    An episode is told once, and is over after `calm_points` points without an anomaly (six hours
    of points of five minutes; chosen with the limits of `NoveltyRules`).
    """

    novelty: NoveltyRules = field(default_factory=NoveltyRules)
    calm_points: int = 72


@dataclass(frozen=True)
class DetectorState:
    """What is remembered of one series. Start with `DetectorState()`.

    `calm`: the points since the last anomaly of the episode that was told; None outside one.
    """

    values: Novelty = field(default_factory=Novelty)
    errors: Novelty = field(default_factory=Novelty)
    calm: int | None = None
    last_at: float = -math.inf


def score_point(
    state: DetectorState,
    series: str,
    at: float,
    value: float,
    forecast: Forecast | None,
    rules: DetectorRules = DetectorRules(),
) -> tuple[DetectorState, AnomalyScore]:
    """The state after the point (`at` in UTC seconds) and its score.

    A score above 1 is anomalous; `suppressed` says that its episode was told before: a new episode
    is anomalous and not suppressed. Where the forecast has no point the value's vote decides
    alone. The forecast's interval plays no part: an error is measured by the errors before it. A
    value that is not finite, or not newer than the last one, changes nothing and scores NaN.
    """
    if not math.isfinite(value) or at <= state.last_at:
        return state, AnomalyScore(series, at, value, math.nan, math.nan, False)
    point = forecast.at(at) if forecast else None
    values, score = judged(state.values, value, _least_sd, rules.novelty)
    if point is None:
        errors, expected = state.errors.interrupted(), _usual(state, value)
    else:
        expected, least = point.value, _least_sd(point.value)
        errors, vote = judged(state.errors, value - expected, lambda _: least, rules.novelty)
        score = max(score, vote)
    anomalous = score > 1.0
    suppressed = anomalous and state.calm is not None
    after = DetectorState(values, errors, _calm(state.calm, anomalous, rules), at)
    return after, AnomalyScore(series, at, value, expected, score, anomalous, suppressed)


def _least_sd(level: float) -> float:
    return smallest_half_width(level) / 2.0


def _usual(state: DetectorState, value: float) -> float:
    usual = state.values.sudden
    return usual.level if usual.known else value


def _calm(calm: int | None, anomalous: bool, rules: DetectorRules) -> int | None:
    if anomalous:
        return 0
    longer = None if calm is None else calm + 1
    return None if longer is None or longer >= rules.calm_points else longer
