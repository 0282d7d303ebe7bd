"""Which alerts are told to people, and which wait: inhibited by a graver one, or silenced. Pure.

An alert that waits is kept in the history like any other. It is told when what held it back is
over, if it still fires by then; a resolution is told wherever its firing was. A silenced alert
inhibits others all the same: people know of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from autotuner.alerts.lifecycle import AlertState, Phase, States
from autotuner.domain.forecasts import Alert
from autotuner.domain.silences import Silence

Inhibitions = Mapping[
    str, frozenset[str]
]  # an alert's name -> the names that are not told meanwhile


@dataclass(frozen=True)
class Change:
    """An alert that began, ended, or may now be told. `tell`: receivers get it."""

    alert: Alert
    tell: bool


@dataclass(frozen=True)
class Quiet:
    """What holds alerts back at `now`: `names` are inhibited, and the silences that match."""

    now: float
    silences: Collection[Silence] = ()
    names: frozenset[str] = frozenset()

    def holds(self, alert: Alert) -> bool:
        """Whether `alert`, which fires, is not to be told yet."""
        return alert.name in self.names or silenced(alert, self.silences, self.now)


def silenced(alert: Alert, silences: Collection[Silence], now: float) -> bool:
    """Whether any of `silences` mutes `alert` at `now`."""
    return any(silence.mutes(alert, now) for silence in silences)


def announced(
    before: States,
    after: States,
    inhibitions: Inhibitions,
    now: float,
    silences: Collection[Silence] = (),
) -> tuple[dict[str, AlertState], tuple[Change, ...]]:
    """The states with what was told, and the changes; `before` and `after` are one target's."""
    quiet = Quiet(now, silences, _muted(after, inhibitions))
    states: dict[str, AlertState] = {}
    changes = []
    for key, state in after.items():
        states[key], change = _announced(state, before.get(key, AlertState()), quiet)
        if change is not None:
            changes.append(change)
    return states, tuple(changes)


def _muted(states: States, inhibitions: Inhibitions) -> frozenset[str]:
    """The names that something firing inhibits."""
    firing = {s.alert.name for s in states.values() if s.alert and s.phase is Phase.FIRING}
    return frozenset().union(*(inhibitions.get(name, frozenset()) for name in firing))


def _announced(
    state: AlertState, before: AlertState, quiet: Quiet
) -> tuple[AlertState, Change | None]:
    alert = state.alert
    if alert is None:
        return state, None
    changed = alert != before.alert
    if not alert.firing:
        # Where a restart has forgotten whether it was told, once too often beats never.
        return state, Change(alert, state.told is not False) if changed else None
    if state.told is not True and not quiet.holds(alert):
        return replace(state, told=True), Change(alert, tell=True)
    return state, Change(alert, tell=False) if changed else None
