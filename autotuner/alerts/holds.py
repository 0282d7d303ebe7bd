"""What an incoming alert changes about a target's mode. Pure: its memory is what was asked before.

A pause ends once every alert that asked for it is resolved. A person's word ends it too: it is
never taken back by an alert that had fired before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotuner.alerts.inbox import Action, IncomingAlert
from autotuner.domain.mode import Mode

_ASKS = {Mode.ACTIVE: "resume", Mode.ADVISORY: "advisory", Mode.PAUSED: "pause"}


@dataclass(frozen=True)
class Word:
    """A mode that was asked for. `told` is what came with an alert's; None: a person's word."""

    mode: Mode
    told: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """`note` says what was done and why; `ask` is for the daemon, `told` to be kept with it.

    Without `ask` nothing changes.
    """

    note: str
    ask: str | None = None
    told: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Standing:
    """Which alerts hold the target paused, and the mode that it goes back to."""

    holds: tuple[str, ...]
    before: Mode


def answer(alert: IncomingAlert, past: Sequence[Word], configured: Mode) -> Answer:
    """What `alert` changes; `past`: the words so far, newest first; `configured`: without any."""
    standing, known = _standing(past, configured), _fires_already(alert, past)
    if not alert.firing:
        return _resolved(alert, standing)
    if known:
        return Answer(f"{alert.name}: known already")
    if alert.action is Action.PAUSE:
        held = _Standing((*standing.holds, alert.key), standing.before)
        return _asking(alert, Mode.PAUSED, held, "pauses tuning")
    if standing.holds:
        return Answer(f"{alert.name}: not started, since another alert holds it paused")
    # It lifts a pause and nothing more: an advisory daemon stays one.
    mode = Mode.ACTIVE if configured is Mode.PAUSED else configured
    return _asking(alert, mode, _Standing((), mode), "starts tuning")


def _resolved(alert: IncomingAlert, standing: _Standing) -> Answer:
    if alert.key not in standing.holds:
        return Answer(f"{alert.name}: resolved; it holds nothing")
    left = _Standing(tuple(key for key in standing.holds if key != alert.key), standing.before)
    if left.holds:
        return _asking(alert, Mode.PAUSED, left, "is resolved; other alerts hold it paused")
    return _asking(alert, left.before, left, "is resolved and lets tuning go on")


def _asking(alert: IncomingAlert, mode: Mode, after: _Standing, does: str) -> Answer:
    told = {
        "alert": alert.key,
        "firing": alert.firing,
        "holds": list(after.holds),
        "before": after.before.value,
    }
    return Answer(f"{alert.name} {does}", _ASKS[mode], told)


def _standing(past: Sequence[Word], configured: Mode) -> _Standing:
    if not past:
        return _Standing((), configured)
    last = past[0]
    if last.told is None:
        return _Standing((), last.mode)
    return _Standing(tuple(last.told["holds"]), Mode(last.told["before"]))


def _fires_already(alert: IncomingAlert, past: Sequence[Word]) -> bool:
    told = (word.told for word in past if word.told is not None)
    return next((bool(one["firing"]) for one in told if one["alert"] == alert.key), False)
