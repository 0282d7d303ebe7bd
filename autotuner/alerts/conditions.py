"""Alerts that need no threshold: what the daemon itself has already judged. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autotuner.alerts.lifecycle import Labels, Severity, Signal, Subject, Timing


class Builtin(StrEnum):
    """The daemon's own alerts, by the name that people see."""

    TARGET_DOWN = "TargetDown"
    SCRAPE_FAILED = "ScrapeFailed"
    ANOMALY = "AnomalyInMetrics"
    HARMFUL = "ExperimentHarmful"
    DRIFT = "SettingsDrift"
    RESTARTED = "TargetRestarted"
    AA_FAILED = "AAFailed"
    OVERLOAD = "ForecastExceedsCapacity"
    MODEL_OFF = "ModelOff"
    HISTORY_AWAY = "HistoryUnavailable"

    @property
    def severity(self) -> Severity:
        return _HABITS[self][0]

    @property
    def timing(self) -> Timing:
        return _HABITS[self][1]


# An event (a verdict, a breach) is over at once: it stays up for a quarter of an hour to be seen.
_EVENT = Timing(for_s=0.0, resolve_for_s=900.0)
_HABITS: dict[Builtin, tuple[Severity, Timing]] = {
    Builtin.TARGET_DOWN: (Severity.CRITICAL, Timing(for_s=30.0, resolve_for_s=60.0)),
    Builtin.SCRAPE_FAILED: (Severity.WARNING, Timing(for_s=60.0, resolve_for_s=60.0)),
    Builtin.ANOMALY: (Severity.WARNING, Timing(for_s=0.0, resolve_for_s=600.0)),
    Builtin.HARMFUL: (Severity.WARNING, _EVENT),
    Builtin.RESTARTED: (Severity.WARNING, _EVENT),
    Builtin.AA_FAILED: (Severity.CRITICAL, _EVENT),
    Builtin.OVERLOAD: (Severity.WARNING, Timing(for_s=60.0, resolve_for_s=600.0)),
    Builtin.MODEL_OFF: (Severity.WARNING, Timing(for_s=0.0, resolve_for_s=600.0)),
    # A database that is restarted is back within seconds; nobody is to be woken by that.
    Builtin.HISTORY_AWAY: (Severity.CRITICAL, Timing(for_s=10.0, resolve_for_s=0.0)),
    Builtin.DRIFT: (Severity.WARNING, Timing(for_s=0.0, resolve_for_s=60.0)),
}


@dataclass(frozen=True)
class Condition:
    """Whether a built-in alert's cause holds now; None when nothing is known.

    `labels` tell apart alerts of one name, such as the series of an anomaly.
    """

    kind: Builtin
    active: bool | None
    summary: str
    labels: Labels = ()

    def subject(self, target: str) -> Subject:
        return Subject(self.kind.value, target, self.kind.severity, self.labels)

    @property
    def signal(self) -> Signal:
        if self.active is None:
            return Signal.HOLD
        return Signal.BREACHED if self.active else Signal.CLEAR
