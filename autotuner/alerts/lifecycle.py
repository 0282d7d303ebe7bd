"""One alert's life: inactive → pending → firing → resolved. Pure; knows nothing of series."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert

Labels = tuple[tuple[str, str], ...]


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Phase(StrEnum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Signal(StrEnum):
    """What was seen of an alert's cause.

    HOLD is neither: no data, or a value inside the hysteresis. It starts nothing and ends nothing.
    """

    BREACHED = "breached"
    CLEAR = "clear"
    HOLD = "hold"


@dataclass(frozen=True)
class Timing:
    """How long a breach must last before it fires, and its absence before it resolves, seconds."""

    for_s: float = 0.0
    resolve_for_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("for_s", "resolve_for_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)!r}: give a number of seconds >= 0")


@dataclass(frozen=True)
class Subject:
    """What an alert is about; name, target and labels make its identity."""

    name: str
    target: str
    severity: Severity
    labels: Labels = ()

    @property
    def fingerprint(self) -> str:
        """16 hex digits, the same in every process and whatever the order of the labels."""
        identity = json.dumps([self.name, self.target, sorted(self.labels)])
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class AlertState:
    """Where one alert stands. `alert` is set while firing and once resolved.

    `told`: receivers were told that it fires; None where a restart has forgotten whether.
    """

    phase: Phase = Phase.INACTIVE
    timing: Timing = field(default_factory=Timing)
    since: float = 0.0  # when the phase began
    clear_since: float | None = None  # while firing: the cause has been absent since
    limit: float | None = None  # the threshold that was crossed, fixed for the episode
    alert: Alert | None = None
    told: bool | None = False

    @property
    def open(self) -> bool:
        return self.phase in (Phase.PENDING, Phase.FIRING)


States = Mapping[str, AlertState]


def restore(
    alerts: Iterable[Alert], told: Callable[[Alert], bool | None] = lambda _alert: None
) -> dict[str, AlertState]:
    """States by fingerprint from the alerts that fired when the process ended.

    `told`: whether receivers were told of one; None where that is not known.
    """
    return {
        a.fingerprint: AlertState(Phase.FIRING, since=a.starts_at, alert=a, told=told(a))
        for a in alerts
        if a.firing
    }


def advance(
    state: AlertState, signal: Signal, now: float, subject: Subject, summary: str
) -> AlertState:
    """The state after one look at the cause. `now` in seconds (UTC)."""
    if state.phase is Phase.FIRING:
        return _while_firing(state, signal, now)
    if signal is not Signal.BREACHED:
        return AlertState(timing=state.timing, since=now)
    pending = state if state.phase is Phase.PENDING else _pending(state, now)
    if now - pending.since < pending.timing.for_s:
        return pending
    return replace(
        pending, phase=Phase.FIRING, since=now, alert=_alert(subject, summary, pending.since)
    )


def _pending(state: AlertState, now: float) -> AlertState:
    return replace(state, phase=Phase.PENDING, since=now, clear_since=None, alert=None, told=False)


def _alert(subject: Subject, summary: str, starts_at: float) -> Alert:
    return Alert(
        fingerprint=subject.fingerprint,
        name=subject.name,
        severity=subject.severity.value,
        target=subject.target,
        summary=summary,
        starts_at=starts_at,
        labels=tuple(sorted(subject.labels)),
    )


def _while_firing(state: AlertState, signal: Signal, now: float) -> AlertState:
    if signal is not Signal.CLEAR:
        return replace(state, clear_since=None)
    since = now if state.clear_since is None else state.clear_since
    if now - since < state.timing.resolve_for_s or state.alert is None:
        return replace(state, clear_since=since)
    ended = replace(state.alert, ends_at=now)
    return replace(state, phase=Phase.RESOLVED, since=now, clear_since=None, alert=ended)
