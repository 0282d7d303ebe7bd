"""Which alerts are told to people, and which wait while a graver one of the target fires. Pure.

An alert that waits is kept in the history like any other. It is told when the one that inhibited
it is over, if it still fires by then; a resolution is told wherever its firing was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from autotuner.alerts.lifecycle import AlertState, Phase, States
from autotuner.domain.forecasts import Alert

Inhibitions = Mapping[
    str, frozenset[str]
]  # an alert's name -> the names that are not told meanwhile


@dataclass(frozen=True)
class Change:
    """An alert that began, ended, or may now be told. `tell`: receivers get it."""

    alert: Alert
    tell: bool


def announced(
    before: States, after: States, inhibitions: Inhibitions
) -> tuple[dict[str, AlertState], tuple[Change, ...]]:
    """The states with what was told, and the changes; `before` and `after` are one target's."""
    muted = _muted(after, inhibitions)
    states: dict[str, AlertState] = {}
    changes = []
    for key, state in after.items():
        states[key], change = _announced(state, before.get(key, AlertState()), muted)
        if change is not None:
            changes.append(change)
    return states, tuple(changes)


def _muted(states: States, inhibitions: Inhibitions) -> frozenset[str]:
    """The names that something firing inhibits."""
    firing = {s.alert.name for s in states.values() if s.alert and s.phase is Phase.FIRING}
    return frozenset().union(*(inhibitions.get(name, frozenset()) for name in firing))


def _announced(
    state: AlertState, before: AlertState, muted: frozenset[str]
) -> tuple[AlertState, Change | None]:
    alert = state.alert
    if alert is None:
        return state, None
    changed = alert != before.alert
    if not alert.firing:
        # Whether it was told before a restart is not known: once too often beats never.
        return state, Change(alert, state.told is not False) if changed else None
    if state.told is not True and alert.name not in muted:
        return replace(state, told=True), Change(alert, tell=True)
    return state, Change(alert, tell=False) if changed else None
