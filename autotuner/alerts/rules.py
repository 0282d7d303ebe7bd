"""Alert rules over series, and one evaluation of all rules and conditions. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from autotuner.alerts.conditions import Builtin, Condition
from autotuner.alerts.inhibition import Change, Inhibitions, announced
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
from autotuner.alerts.limits import Limit
from autotuner.alerts.usual import Usual
from autotuner.domain.errors import ConfigError
from autotuner.domain.silences import Silence

# A limit from the past is fixed while its alert is open, but not for ever: what has been so for a
# day is the series' new past.
_LIMIT_HOLDS_S = 86_400.0


class Tier(StrEnum):
    """Where a rule looks."""

    HARDWARE = "hardware"
    FRAMEWORK = "framework"
    BUSINESS = "business"


@dataclass(frozen=True)
class AlertRule:
    """Fires when `series` has crossed its limit for long enough; resolves after its hysteresis.

    `inhibits`: names of alerts of the same target that are not told while this one fires.
    Raises ConfigError for a rule that could never work.
    """

    name: str
    tier: Tier
    series: str
    limit: Limit
    timing: Timing = field(default_factory=Timing)
    severity: Severity = Severity.WARNING
    inhibits: frozenset[str] = frozenset()
    labels: Labels = ()

    def __post_init__(self) -> None:
        if not self.name or not self.series:
            raise ConfigError(f"rule {self.name!r}: name and series must not be empty")
        if self.name in set(Builtin):
            raise ConfigError(f"rule {self.name!r}: a built-in alert has this name; give another")

    def subject(self, target: str) -> Subject:
        labels = dict(self.labels) | {"series": self.series, "tier": self.tier.value}
        return Subject(self.name, target, self.severity, tuple(sorted(labels.items())))

    def signal(self, value: float, level: float) -> Signal:
        """What `value` says; HOLD for NaN and between the level and the hysteresis."""
        if math.isnan(value) or math.isnan(level):
            return Signal.HOLD
        if self.limit.crossed(value, level):
            return Signal.BREACHED
        return Signal.CLEAR if self.limit.well(value, level) else Signal.HOLD


@dataclass(frozen=True)
class Readings:
    """What the rules look at. A series that is absent or NaN says nothing."""

    values: Mapping[str, float] = field(default_factory=dict)
    usual: Mapping[str, Usual] = field(default_factory=dict)  # of each series' own past
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class _Look:
    subject: Subject
    signal: Signal
    summary: str
    timing: Timing
    limit: float | None = None


def evaluate(
    rules: Iterable[AlertRule],
    states: States,
    readings: Readings,
    now: float,
    target: str,
    silences: Collection[Silence] = (),
) -> tuple[dict[str, AlertState], tuple[Change, ...]]:
    """The states by fingerprint after this look, and what began, ended or may now be told.

    `states` are one target's; `now` is in seconds (UTC) and stamps what changes.
    An open alert whose rule or condition is not mentioned any more is taken as clear; pass a
    condition with `active=None` to hold it instead.
    """
    rules = tuple(rules)
    looks = {
        look.subject.fingerprint: look for look in _looks(rules, states, readings, now, target)
    }
    after: dict[str, AlertState] = {}
    for key in (*looks, *(key for key in states if key not in looks)):
        state = _next(states.get(key, AlertState()), looks.get(key), now)
        if state.phase is not Phase.INACTIVE:
            after[key] = state
    return announced(states, after, _inhibitions(rules), now, silences)


def blind(rules: Iterable[AlertRule], series: Iterable[str]) -> tuple[str, ...]:
    """The names of rules that say nothing, because their series is not among `series`."""
    known = frozenset(series)
    return tuple(rule.name for rule in rules if rule.series not in known)


def _inhibitions(rules: Iterable[AlertRule]) -> Inhibitions:
    """Who inhibits whom: what the rules say, and a target that is down everything it explains."""
    found = {rule.name: rule.inhibits for rule in rules if rule.inhibits}
    explained = {rule.name for rule in rules} | {Builtin.SCRAPE_FAILED, Builtin.ANOMALY}
    return {**found, Builtin.TARGET_DOWN: frozenset(explained)}


def _next(state: AlertState, look: _Look | None, now: float) -> AlertState:
    if look is None:
        return advance(state, Signal.CLEAR, now, _FORGOTTEN, "")
    timed = replace(state, timing=look.timing, limit=look.limit)
    return advance(timed, look.signal, now, look.subject, look.summary)


# An unmentioned alert can only end, so that nothing is ever made of this subject.
_FORGOTTEN = Subject("", "", Severity.INFO)


def _looks(
    rules: Iterable[AlertRule], states: States, readings: Readings, now: float, target: str
) -> Iterator[_Look]:
    for rule in rules:
        yield _look_at(rule, states, readings, now, target)
    for condition in readings.conditions:
        yield _Look(
            condition.subject(target), condition.signal, condition.summary, condition.kind.timing
        )


def _look_at(rule: AlertRule, states: States, readings: Readings, now: float, target: str) -> _Look:
    subject = rule.subject(target)
    level = _level(rule, states.get(subject.fingerprint, AlertState()), readings, now)
    value = readings.values.get(rule.series, math.nan)
    signal = rule.signal(value, level)
    summary = f"{rule.series} is {value:.4g}, {rule.limit.words(level)} on {target}"
    return _Look(subject, signal, summary, rule.timing, None if math.isnan(level) else level)


def _level(rule: AlertRule, state: AlertState, readings: Readings, now: float) -> float:
    """The level that counts now: a past that worsens with the incident must not end its alert."""
    fixed = rule.limit.relative and state.open and now - state.since < _LIMIT_HOLDS_S
    if fixed and state.limit is not None:
        return state.limit
    return rule.limit.level(readings.usual.get(rule.series))
