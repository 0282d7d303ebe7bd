"""Which new points are anomalous, decided in O(history) per point. Pure: state in, state out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from autotuner.domain.forecasts import AnomalyScore, Forecast
from autotuner.forecast.series import smallest_half_width, spread_sd

# A robust z of 6 counts like 3 half-widths of a forecast's band, a z of 3 like 1.5.
_SIGMAS_PER_HALF = 2.0
_WITH_HISTORY = frozenset({"prophet", "seasonal"})


@dataclass(frozen=True)
class DetectorRules:
    """When a score r = |y − ŷ| / half-width makes an anomaly.

    Hard: r > `hard` once. Soft: r > max(`soft`, `soft` × the `quantile` of the last `history_s` of
    r) in `votes` of `of` points that lie within `vote_span_s`. After an anomaly that was told,
    further ones are suppressed for `refractory_s`, or until r stayed at most 1 for `quiet_s`.
    The thresholds were chosen from measurements on labelled series of the Numenta Anomaly
    Benchmark; since an anomaly only triggers a closer look, they favour recall.
    """

    hard: float = 3.0
    soft: float = 1.5
    quantile: float = 0.995
    history_s: float = 7 * 86_400.0
    history_points: int = 2016  # 7 days at 5 minutes
    votes: int = 2
    of: int = 3
    vote_span_s: float = 1800.0
    refractory_s: float = 6 * 3600.0
    quiet_s: float = 3600.0
    level_points: int = 288  # for the robust z: a day at 5 minutes
    min_points: int = 30  # before the robust z may say anything


@dataclass(frozen=True)
class Scored:
    """One point as it was judged."""

    at: float
    score: float
    over: bool


@dataclass(frozen=True)
class DetectorState:
    """What is remembered of one series. Start with `DetectorState()`."""

    scored: tuple[Scored, ...] = ()
    values: tuple[float, ...] = ()
    last_at: float = -math.inf
    told_at: float | None = None  # the episode's anomaly, while others are suppressed
    inside_since: float | None = None  # r has been at most 1 since then


def score_point(
    state: DetectorState,
    series: str,
    at: float,
    value: float,
    forecast: Forecast | None,
    rules: DetectorRules = DetectorRules(),
) -> tuple[DetectorState, AnomalyScore]:
    """The state after the point (`at` in UTC seconds) and its score.

    `anomalous` says that the rule holds, `suppressed` that the episode was told before: a new
    episode is anomalous and not suppressed. Without a forecast at that time the score comes from
    a robust z of the last values; a model without history of its own (robust) counts as none.
    A value that is not finite, or not newer than the last one, changes nothing and scores NaN.
    """
    if not math.isfinite(value) or at <= state.last_at:
        return state, AnomalyScore(series, at, value, math.nan, math.nan, False)
    state = _ended_refractory(state, at, rules)
    expectation = _from_forecast(forecast, at, value) or _from_values(state, rules)
    if expectation is None:
        return _seen(state, at, value, rules), AnomalyScore(series, at, value, value, 0.0, False)
    expected, half = expectation
    r = abs(value - expected) / half
    scored = Scored(at, r, r > _soft_threshold(state, rules))
    anomalous = r > rules.hard or _outvoted(state, scored, rules)
    suppressed = anomalous and state.told_at is not None
    told = at if anomalous and not suppressed else state.told_at
    after = _with_score(replace(state, told_at=told), scored, rules)
    score = AnomalyScore(series, at, value, expected, r, anomalous, suppressed)
    return _seen(after, at, value, rules), score


def _from_forecast(
    forecast: Forecast | None, at: float, value: float
) -> tuple[float, float] | None:
    """The forecast's value and the half-width of its band on the side of `value`."""
    if forecast is None or forecast.model not in _WITH_HISTORY:
        return None
    point = forecast.at(at)
    if point is None:
        return None
    side = point.high - point.value if value >= point.value else point.value - point.low
    return point.value, max(side, smallest_half_width(point.value))


def _from_values(state: DetectorState, rules: DetectorRules) -> tuple[float, float] | None:
    """The median of the last values and a half-width in the forecast's terms."""
    if len(state.values) < rules.min_points:
        return None
    values = np.asarray(state.values)
    level = float(np.median(values))
    return level, max(_SIGMAS_PER_HALF * spread_sd(values), smallest_half_width(level))


def _soft_threshold(state: DetectorState, rules: DetectorRules) -> float:
    if not state.scored:
        return rules.soft
    past = np.asarray([s.score for s in state.scored])
    return max(rules.soft, rules.soft * float(np.quantile(past, rules.quantile)))


def _outvoted(state: DetectorState, scored: Scored, rules: DetectorRules) -> bool:
    recent = (*state.scored[-(rules.of - 1) :], scored) if rules.of > 1 else (scored,)
    votes = sum(s.over for s in recent if s.at > scored.at - rules.vote_span_s)
    return scored.over and votes >= rules.votes


def _ended_refractory(state: DetectorState, at: float, rules: DetectorRules) -> DetectorState:
    if state.told_at is None:
        return state
    quiet = state.inside_since is not None and at - state.inside_since >= rules.quiet_s
    over = quiet or at - state.told_at >= rules.refractory_s
    return replace(state, told_at=None) if over else state


def _with_score(state: DetectorState, scored: Scored, rules: DetectorRules) -> DetectorState:
    kept = (*state.scored, scored)[-rules.history_points :]
    first = next(i for i, s in enumerate(kept) if s.at > scored.at - rules.history_s)
    since = state.inside_since if state.inside_since is not None else scored.at
    inside = since if scored.score <= 1.0 else None
    return replace(state, scored=kept[first:], inside_since=inside)


def _seen(state: DetectorState, at: float, value: float, rules: DetectorRules) -> DetectorState:
    values = (*state.values, value)[-rules.level_points :]
    return replace(state, values=values, last_at=at)
