"""Alert rules over series, and one evaluation of all rules and conditions. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from autotuner.alerts.conditions import Condition
from autotuner.alerts.lifecycle import (
    AlertState,
    Labels,
    Phase,
    Severity,
    Signal,
    States,
    Subject,
    Timing,
    advance,
)
from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert


class Tier(StrEnum):
    """Where a rule looks."""

    HARDWARE = "hardware"
    FRAMEWORK = "framework"
    BUSINESS = "business"


class Comparison(StrEnum):
    ABOVE = ">"
    BELOW = "<"


@dataclass(frozen=True)
class AlertRule:
    """Fires when `series` is above or below a limit for long enough.

    The limit is `threshold`, or `p99_factor` times the series' own P99. It resolves once the value
    is past the limit by `resolve_margin` (a share of the limit) on the good side, for
    `timing.resolve_for_s`. Raises ConfigError for a rule that could never work.
    """

    name: str
    tier: Tier
    series: str
    comparison: Comparison = Comparison.ABOVE
    threshold: float | None = None
    p99_factor: float | None = None
    timing: Timing = field(default_factory=Timing)
    severity: Severity = Severity.WARNING
    resolve_margin: float = 0.05
    labels: Labels = ()

    def __post_init__(self) -> None:
        where = f"rule {self.name!r}"
        if not self.name or not self.series:
            raise ConfigError(f"{where}: name and series must not be empty")
        if (self.threshold is None) == (self.p99_factor is None):
            raise ConfigError(f"{where}: give either threshold or p99_factor")
        limit = self.threshold if self.p99_factor is None else self.p99_factor
        if limit is None or not math.isfinite(limit):
            raise ConfigError(f"{where}: threshold or p99_factor={limit!r}: give a finite number")
        if not 0 <= self.resolve_margin < 1:
            raise ConfigError(f"{where}: resolve_margin={self.resolve_margin!r}: give 0 to below 1")

    def subject(self, target: str) -> Subject:
        labels = dict(self.labels) | {"series": self.series, "tier": self.tier.value}
        return Subject(self.name, target, self.severity, tuple(sorted(labels.items())))

    def limit(self, p99s: Mapping[str, float]) -> float:
        """The limit in the series' unit; NaN while the series' P99 is not known."""
        if self.threshold is not None:
            return self.threshold
        return (self.p99_factor or math.nan) * p99s.get(self.series, math.nan)

    def signal(self, value: float, limit: float) -> Signal:
        """What `value` says; HOLD for NaN and between the limit and its margin."""
        sign = 1.0 if self.comparison is Comparison.ABOVE else -1.0
        excess = sign * (value - limit)
        if math.isnan(excess):
            return Signal.HOLD
        if excess > 0:
            return Signal.BREACHED
        return Signal.CLEAR if excess <= -self.resolve_margin * abs(limit) else Signal.HOLD


@dataclass(frozen=True)
class Readings:
    """What the rules look at. A series that is absent or NaN says nothing."""

    values: Mapping[str, float] = field(default_factory=dict)
    p99s: Mapping[str, float] = field(default_factory=dict)  # of each series' own past
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class _Look:
    subject: Subject
    signal: Signal
    summary: str
    timing: Timing
    limit: float | None = None


def evaluate(
    rules: Iterable[AlertRule], states: States, readings: Readings, now: float, target: str
) -> tuple[dict[str, AlertState], tuple[Alert, ...]]:
    """The states by fingerprint after this look, and the alerts that began to fire or resolved.

    `states` are one target's; `now` is in seconds (UTC) and stamps what changes.
    An open alert whose rule or condition is not mentioned any more is taken as clear; pass a
    condition with `active=None` to hold it instead.
    """
    looks = {look.subject.fingerprint: look for look in _looks(rules, states, readings, target)}
    after: dict[str, AlertState] = {}
    for key in (*looks, *(key for key in states if key not in looks)):
        state = _next(states.get(key, AlertState()), looks.get(key), now)
        if state.phase is not Phase.INACTIVE:
            after[key] = state
    return after, tuple(_changes(states, after))


def _next(state: AlertState, look: _Look | None, now: float) -> AlertState:
    if look is None:
        return advance(state, Signal.CLEAR, now, _FORGOTTEN, "")
    timed = replace(state, timing=look.timing, limit=look.limit)
    return advance(timed, look.signal, now, look.subject, look.summary)


# An unmentioned alert can only end, so that nothing is ever made of this subject.
_FORGOTTEN = Subject("", "", Severity.INFO)


def _changes(before: States, after: States) -> Iterator[Alert]:
    for key, state in after.items():
        if state.alert is not None and state.alert != before.get(key, AlertState()).alert:
            yield state.alert


def _looks(
    rules: Iterable[AlertRule], states: States, readings: Readings, target: str
) -> Iterator[_Look]:
    for rule in rules:
        yield _look_at(rule, states, readings, target)
    for condition in readings.conditions:
        yield _Look(
            condition.subject(target), condition.signal, condition.summary, condition.kind.timing
        )


def _look_at(rule: AlertRule, states: States, readings: Readings, target: str) -> _Look:
    subject = rule.subject(target)
    state = states.get(subject.fingerprint, AlertState())
    # A P99 that rises with the incident must not end the alert.
    limit = rule.limit(readings.p99s)
    if rule.p99_factor is not None and state.open and state.limit is not None:
        limit = state.limit
    value = readings.values.get(rule.series, math.nan)
    signal = rule.signal(value, limit)
    basis = "" if rule.p99_factor is None else f" ({rule.p99_factor:g} × its P99)"
    summary = (
        f"{rule.series} is {value:g}, {'above' if rule.comparison is Comparison.ABOVE else 'below'}"
        f" {limit:g}{basis} on {target}"
    )
    return _Look(subject, signal, summary, rule.timing, None if math.isnan(limit) else limit)
