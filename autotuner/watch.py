"""Watches one target's series: keeps samples, forecasts them, scores them, raises alerts.

Reads nothing of the target itself: it sees what the observer saw. Alerts are written into the
outbox; sending them is somebody else's work.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import structlog

from autotuner.alerts.conditions import Builtin, Condition
from autotuner.alerts.lifecycle import AlertState, restore
from autotuner.alerts.outlook import Judgement, Look, Outlook
from autotuner.alerts.payload import webhook_payload
from autotuner.alerts.rules import AlertRule, Readings, blind, evaluate
from autotuner.alerts.steadiness import Steadiness
from autotuner.alerts.usual import Pasts
from autotuner.domain.energy import PER_REQUEST, PER_TOKEN
from autotuner.domain.forecasts import Alert, AnomalyScore, Forecast
from autotuner.domain.knob_names import in_common_names
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import Window
from autotuner.forecast.anomaly import DetectorState, score_point
from autotuner.forecast.bands import Kind
from autotuner.forecast.coverage import Coverage
from autotuner.forecast.service import Forecaster, Past
from autotuner.history.backlog import Backlog
from autotuner.history.records import OutboxMessage, Sample
from autotuner.history.store import History
from autotuner.tuner import Decision, Observation

log = structlog.get_logger()

LOAD = "offered_rps"
STABILITY = "qps_stability"
# Series of the target that others measure, by name; asked for now (epoch s) in every cycle.
Beside = Callable[[float], Mapping[str, float]]
STEADY_FACTOR = 1.3  # chosen: a load that is so many times as large or small is another one
FORECAST_KINDS: Mapping[str, Kind] = {
    LOAD: Kind.RATE,
    "attainment": Kind.SHARE,
    "ttft_s": Kind.LATENCY,
    "e2el_s": Kind.LATENCY,
}


@dataclass(frozen=True)
class WatchOptions:
    """What is watched and how far ahead. Times in seconds; `receivers` get every alert.

    `goal_attainment` and `replicas` say what settings can serve: which minutes met the goal, and
    how many engines share the load. `steady_factor`: a load that is so many times what it is now,
    or that part of it, is another one.
    """

    target: str
    bucket_s: float = 300.0
    horizon_s: float = 3600.0
    history_s: float = 14 * 86400.0
    rules: tuple[AlertRule, ...] = ()
    receivers: tuple[str, ...] = ()
    goal_attainment: float = 0.99
    replicas: int = 1
    steady_factor: float = STEADY_FACTOR


class Watch:
    """One target's series and alerts. `look` and `tell` once a cycle; `refit` now and then.

    While the history is away, what is seen and told waits in the `backlog`.
    """

    def __init__(
        self,
        history: History,
        forecaster: Forecaster,
        options: WatchOptions,
        backlog: Backlog | None = None,
    ) -> None:
        self._history, self._forecaster, self._options = history, forecaster, options
        self._backlog = Backlog() if backlog is None else backlog
        self.beside: Beside = lambda _now: {}
        self._silences = history.silences()
        self._states: Mapping[str, AlertState] = restored(history, options)
        self._detectors: dict[str, DetectorState] = defaultdict(DetectorState)
        kept = ((name, history.latest_forecast(options.target, name)) for name in FORECAST_KINDS)
        self._forecasts: Mapping[str, Forecast] = {name: f for name, f in kept if f is not None}
        self._coverages: dict[str, Coverage] = defaultdict(Coverage)
        self._bucket_at: float | None = None
        self._bucket: dict[str, list[float]] = defaultdict(list)
        self._values: dict[str, float] = {}
        self._scores: tuple[AnomalyScore, ...] = ()
        self._steadiness = Steadiness()
        self._pasts = Pasts(rule.series for rule in options.rules if rule.limit.relative)
        self._remembers = False
        self._blind: tuple[str, ...] | None = None
        self._outlook = Outlook(options.goal_attainment)
        self._ahead = Judgement(None)

    def send_to(self, receivers: tuple[str, ...]) -> None:
        """From now on alerts go to these; what fires already is told to them at its next change."""
        self._options = replace(self._options, receivers=receivers)

    def look(self, seen: Observation, now: float) -> Observation:
        """The observation with what is forecast of the load; completed buckets are kept, scored."""
        self._remember(now)
        self._values = readings(seen) | self._steady(seen) | dict(self.beside(now))
        self._pasts.add(now, self._values)
        self._fill_bucket(now)
        ahead = self._forecasts.get(LOAD)
        peak = ahead.peak(now, now + self._options.horizon_s) if ahead else None
        self._ahead = self._outlook.judge(peak, now)
        return replace(
            seen,
            forecast_rate_rps=peak.value if peak else None,
            overload=self._ahead.text if self._ahead.exceeds else None,
            steady_for_s=self._steady_for_s(ahead, now),
        )

    def tell(
        self,
        seen: Observation,
        decision: Decision,
        now: float,
        beside: tuple[Condition, ...] = (),
    ) -> tuple[Alert, ...]:
        """Raises and resolves alerts from what was seen and decided; returns those that changed.

        `beside`: conditions that others judge.
        """
        self._learn(seen, decision, now)
        overload = Condition(Builtin.OVERLOAD, self._ahead.exceeds, self._ahead.text)
        conditions = (
            *standing(seen, restarting=decision.state.restart is not None),
            overload,
            *oddities(self._scores),
            *events(decision),
            *beside,
        )
        looked = Readings(self._values, self._pasts.usual, conditions)
        options = self._options
        self._silences = self._backlog.ask(lambda: self._history.silences(now), self._silences)
        states, changes = evaluate(
            options.rules, self._states, looked, now, options.target, self._silences
        )
        for change in changes:
            # Couriers tell of a history that is away by themselves: the outbox is away with it.
            telling = change.tell and change.alert.name != Builtin.HISTORY_AWAY
            receivers = options.receivers if telling else ()
            messages = [self._message(change.alert, receiver) for receiver in receivers]
            self._backlog.write(
                "alert", partial(self._history.record_alert, change.alert, now, messages),
                needed=True,
            )  # fmt: skip
        self._states = states  # only now: what could not be recorded changes again next time
        return tuple(change.alert for change in changes)

    def refit(self, now: float) -> Sequence[Forecast]:
        """Forecasts every series anew (slow: run it beside the cycles); returns them."""
        options = self._options
        pasts = [self._past(series, kind, now) for series, kind in FORECAST_KINDS.items()]
        forecasts = self._forecaster.forecast_many(pasts, options.horizon_s, now)
        made = {forecast.series: forecast for forecast in forecasts}
        for forecast in forecasts:
            if forecast.points:
                self._history.record_forecast(options.target, forecast)
        self._forecasts = made  # one assignment: the cycle's thread sees all or nothing
        return tuple(made.values())

    def _past(self, series: str, kind: Kind, now: float) -> Past:
        since = now - self._options.history_s
        kept = self._history.samples(self._options.target, series, since=since)
        return Past(
            series,
            np.array([s.at for s in kept], dtype=np.float64),
            np.array([s.value for s in kept], dtype=np.float64),
            kind,
        )

    @property
    def values(self) -> Mapping[str, float]:
        """The series as they were last seen; absent where nothing was."""
        return self._values

    @property
    def forecasts(self) -> Mapping[str, Forecast]:
        """The latest forecast of each series that has one."""
        return self._forecasts

    @property
    def coverages(self) -> Mapping[str, Coverage]:
        """How well the intervals of each series held since this process began."""
        return self._coverages

    @property
    def nominal_coverage(self) -> float:
        """The share of values that the intervals are to hold."""
        return self._forecaster.coverage

    # ---- what rules compare with
    def _remember(self, now: float) -> None:
        """Takes over the past that an earlier process kept, once."""
        if self._remembers:
            return
        self._remembers = True
        since = now - self._pasts.span.length_s
        for name in self._pasts.names:
            kept: Sequence[Sample] = self._backlog.ask(
                partial(self._history.samples, self._options.target, name, since=since, until=now),
                [],
            )
            self._pasts.take_over(name, ((s.at, s.value) for s in kept))

    def _steady(self, seen: Observation) -> dict[str, float]:
        if seen.window is None:
            return {}
        self._steadiness.add(seen.window.end, seen.window.length_s, seen.window.requests)
        return {STABILITY: self._steadiness.value}

    def _steady_for_s(self, ahead: Forecast | None, now: float) -> float:
        """How long the forecast leaves the load as it is now; inf where it does so to its end.

        As it is now by the forecast's own word, which may lie a little off what was measured.
        """
        present = ahead.at(now) if ahead else None
        if ahead is None or present is None or not present.value > 0:
            return math.inf
        rate, factor = present.value, self._options.steady_factor
        leaves = ahead.leaves(now, rate / factor, rate * factor)
        return math.inf if leaves is None else leaves - now

    def _learn(self, seen: Observation, decision: Decision, now: float) -> None:
        """What the settings in force can serve is learnt between tests, from data to be trusted."""
        trusted = seen.problem is None and decision.state.experiment is None
        if seen.live is None or seen.traffic is None or seen.window is None or not trusted:
            self._outlook.interrupt()
            return
        self._outlook.learn(
            Look(
                at=now,
                settings=tuple(sorted(seen.live.settings.items())),
                rate_rps=seen.traffic.workload.rate_rps,
                attainment=seen.traffic.attainment,
                places=places(seen.live, self._options.replicas),
                histograms=seen.window.histograms,
            )
        )

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
        self._tell_of_blind_rules(means)
        rows = [(series, at, value) for series, value in means.items()]
        self._backlog.write(
            "samples", partial(self._history.append_samples, self._options.target, rows)
        )
        self._scores = tuple(
            self._score(series, at, means[series]) for series in FORECAST_KINDS if series in means
        )
        odd = [score for score in self._scores if score.anomalous]
        if odd:
            self._backlog.write(
                "anomalies", partial(self._history.record_anomalies, self._options.target, odd)
            )

    def _tell_of_blind_rules(self, means: Mapping[str, float]) -> None:
        """A misspelt or renamed series must not pass for one that is well; told when it changes."""
        found = blind(self._options.rules, means)
        if found != self._blind:
            self._blind = found
            log.info("alerts.rules_without_data", target=self._options.target, rules=found)

    def _score(self, series: str, at: float, value: float) -> AnomalyScore:
        forecast = self._forecasts.get(series)
        self._coverages[series] = self._coverages[series].seen(forecast, at, value)
        state, score = score_point(self._detectors[series], series, at, value, forecast)
        self._detectors[series] = state
        return score

    # ---- alerts
    def _message(self, alert: Alert, receiver: str) -> OutboxMessage:
        return OutboxMessage(
            receiver=receiver,
            fingerprint=alert.fingerprint,
            status="firing" if alert.firing else "resolved",
            payload=webhook_payload([alert], receiver),
            occasion_at=alert.starts_at,
        )


def restored(history: History, options: WatchOptions) -> dict[str, AlertState]:
    """What fired when the process before this one ended, and whether people know of it.

    One that nobody was told of (it was silenced or inhibited) must not come as resolved alone; one
    that only some receivers know of, such as before a new one, is told again: the outbox keeps the
    others from getting it twice.
    """
    target = options.target
    told = [
        {alert.fingerprint for alert in history.firing_alerts(target, receiver)}
        for receiver in options.receivers
    ]

    def known(alert: Alert) -> bool | None:
        seen = [alert.fingerprint in some for some in told]
        return None if any(seen) != all(seen) else any(seen)

    return restore(history.firing_alerts(target), known)


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
        values.update(_energies(seen.window))
    if seen.budget is not None:
        values.update(seen.budget.series())
    return values


def _energies(window: Window) -> dict[str, float]:
    """What a token and a request took; absent where nobody measures energy or none was served."""
    served = {PER_TOKEN: window.output_tokens, PER_REQUEST: window.requests}
    energy_j = window.energy_j
    return {name: energy_j / n for name, n in served.items() if n > 0 and math.isfinite(energy_j)}


def places(live: LiveSettings, replicas: int) -> float | None:
    """Requests that may run at once under the settings in force; None where no knob says so."""
    value = in_common_names(live.settings).get("max_num_seqs")
    if isinstance(value, int | float) and value > 0:
        return float(value) * replicas
    return None


def standing(seen: Observation, *, restarting: bool = False) -> tuple[Condition, ...]:
    """Conditions that hold for as long as their cause does.

    Nothing is known of a target that does not answer while it restarts, because it was asked to.
    """
    down = seen.live is None
    restarting = restarting or (seen.live is not None and seen.live.rebuilding is not None)
    problem = seen.problem or ""
    quiet = down or (restarting and bool(problem))
    return (
        Condition(Builtin.TARGET_DOWN, None if down and restarting else down, problem),
        Condition(Builtin.SCRAPE_FAILED, None if quiet else bool(problem), problem),
    )


def oddities(scores: Sequence[AnomalyScore]) -> tuple[Condition, ...]:
    """Anomalies; the later ones of an episode keep its alert up, and raise none once it is over."""
    return tuple(
        Condition(
            Builtin.ANOMALY,
            None if score.suppressed else score.anomalous,
            f"{score.series} is {score.value:.4g}, {score.expected:.4g} was expected "
            f"(score {score.score:.1f})",
            (("series", score.series),),
        )
        for score in scores
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
