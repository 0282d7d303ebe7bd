"""Watches one target's series: keeps samples, forecasts them, scores them, raises alerts.

Reads nothing of the target itself: it sees what the observer saw. Alerts are written into the
outbox; sending them is somebody else's work.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotuner.alerts.conditions import Builtin, Condition
from autotuner.alerts.lifecycle import AlertState, restore
from autotuner.alerts.payload import webhook_payload
from autotuner.alerts.rules import AlertRule, Readings, evaluate
from autotuner.domain.forecasts import Alert, AnomalyScore, Forecast
from autotuner.forecast.anomaly import DetectorState, score_point
from autotuner.forecast.bands import Kind
from autotuner.forecast.service import Forecaster
from autotuner.history.records import OutboxMessage
from autotuner.history.store import History
from autotuner.tuner import Decision, Observation

LOAD = "offered_rps"
FORECAST_KINDS: Mapping[str, Kind] = {
    LOAD: Kind.RATE,
    "attainment": Kind.SHARE,
    "ttft_s": Kind.LATENCY,
    "e2el_s": Kind.LATENCY,
}


@dataclass(frozen=True)
class WatchOptions:
    """What is watched and how far ahead. Times in seconds; `receivers` get every alert."""

    target: str
    bucket_s: float = 300.0
    horizon_s: float = 3600.0
    history_s: float = 14 * 86400.0
    rules: tuple[AlertRule, ...] = ()
    receivers: tuple[str, ...] = ()


class Watch:
    """One target's series and alerts. `look` and `tell` once a cycle; `refit` now and then."""

    def __init__(self, history: History, forecaster: Forecaster, options: WatchOptions) -> None:
        self._history, self._forecaster, self._options = history, forecaster, options
        self._states: Mapping[str, AlertState] = restore(history.firing_alerts(options.target))
        self._detectors: dict[str, DetectorState] = defaultdict(DetectorState)
        kept = ((name, history.latest_forecast(options.target, name)) for name in FORECAST_KINDS)
        self._forecasts: Mapping[str, Forecast] = {name: f for name, f in kept if f is not None}
        self._bucket_at: float | None = None
        self._bucket: dict[str, list[float]] = defaultdict(list)
        self._values: dict[str, float] = {}
        self._scores: tuple[AnomalyScore, ...] = ()

    def look(self, seen: Observation, now: float) -> Observation:
        """The observation with the load's forecast peak; completed buckets are kept and scored."""
        self._values = readings(seen)
        self._fill_bucket(now)
        ahead = self._forecasts.get(LOAD)
        peak = ahead.peak(now, now + self._options.horizon_s) if ahead else None
        return replace(seen, forecast_rate_rps=peak.value if peak else None)

    def tell(self, seen: Observation, decision: Decision, now: float) -> tuple[Alert, ...]:
        """Raises and resolves alerts from what was seen and decided; returns those that changed."""
        conditions = (*standing(seen), *self._anomaly_conditions(), *events(decision))
        looked = Readings(values=self._values, conditions=conditions)
        options = self._options
        self._states, changed = evaluate(options.rules, self._states, looked, now, options.target)
        for alert in changed:
            self._history.record_alert(
                alert, now, [self._message(alert, r) for r in options.receivers]
            )
        return changed

    def refit(self, now: float) -> Sequence[Forecast]:
        """Forecasts every series anew (slow: run it beside the cycles); returns them."""
        options, made = self._options, {}
        for series, kind in FORECAST_KINDS.items():
            kept = self._history.samples(options.target, series, since=now - options.history_s)
            forecast = self._forecaster.forecast(
                series,
                np.array([s.at for s in kept], dtype=np.float64),
                np.array([s.value for s in kept], dtype=np.float64),
                options.horizon_s,
                now,
                kind,
            )
            made[series] = forecast
            if forecast.points:
                self._history.record_forecast(options.target, forecast)
        self._forecasts = made  # one assignment: the cycle's thread sees all or nothing
        return tuple(made.values())

    # ---- buckets
    def _fill_bucket(self, now: float) -> None:
        start = math.floor(now / self._options.bucket_s) * self._options.bucket_s
        if self._bucket_at is not None and start > self._bucket_at:
            self._close_bucket(self._bucket_at)
        self._bucket_at = start
        for series, value in self._values.items():
            if math.isfinite(value):
                self._bucket[series].append(value)

    def _close_bucket(self, at: float) -> None:
        means = {series: float(np.mean(values)) for series, values in self._bucket.items()}
        self._bucket.clear()
        if not means:
            return
        self._history.append_samples(
            self._options.target, [(series, at, value) for series, value in means.items()]
        )
        self._scores = tuple(
            self._score(series, at, means[series]) for series in FORECAST_KINDS if series in means
        )
        odd = [score for score in self._scores if score.anomalous]
        if odd:
            self._history.record_anomalies(self._options.target, odd)

    def _score(self, series: str, at: float, value: float) -> AnomalyScore:
        state, score = score_point(
            self._detectors[series], series, at, value, self._forecasts.get(series)
        )
        self._detectors[series] = state
        return score

    # ---- alerts
    def _anomaly_conditions(self) -> tuple[Condition, ...]:
        return tuple(
            Condition(
                Builtin.ANOMALY,
                score.anomalous,
                f"{score.series} is {score.value:.4g}, {score.expected:.4g} was expected "
                f"(score {score.score:.1f})",
                (("series", score.series),),
            )
            for score in self._scores
        )

    def _message(self, alert: Alert, receiver: str) -> OutboxMessage:
        return OutboxMessage(
            receiver=receiver,
            fingerprint=alert.fingerprint,
            status="firing" if alert.firing else "resolved",
            payload=webhook_payload([alert], receiver),
            occasion_at=alert.starts_at,
        )


def readings(seen: Observation) -> dict[str, float]:
    """The series of one cycle by name; absent where nothing was seen, never 0 for an outage."""
    values: dict[str, float] = {}
    if seen.traffic is not None:
        values[LOAD] = seen.traffic.workload.rate_rps
        values["attainment"] = seen.traffic.attainment
    if seen.window is not None:
        values.update(seen.window.gauges)
        for name in seen.window.histograms:
            values[name] = seen.window.mean(name)
    return values


def standing(seen: Observation) -> tuple[Condition, ...]:
    """Conditions that hold for as long as their cause does."""
    down = seen.live is None
    problem = seen.problem or ""
    return (
        Condition(Builtin.TARGET_DOWN, down, problem),
        Condition(Builtin.SCRAPE_FAILED, None if down else bool(problem), problem),
    )


def events(decision: Decision) -> tuple[Condition, ...]:
    """Conditions that are over at once: they stay up for a while to be seen."""
    named = {
        "SettingsDrift": Builtin.DRIFT,
        "TargetRestarted": Builtin.RESTARTED,
        "ExperimentHarmful": Builtin.HARMFUL,
        "AAFailed": Builtin.AA_FAILED,
    }
    kind = named.get(decision.alert or "")
    return (Condition(kind, True, decision.reason),) if kind else ()
