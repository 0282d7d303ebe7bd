"""Hears an Alertmanager: what its alerts ask becomes a wish in the history, which daemons take.

Knows nothing of HTTP. Words are kept with what they were for, so that a restart repeats none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from autotuner.alerts.holds import Word, answer
from autotuner.alerts.inbox import Action, IncomingAlert, read_notification
from autotuner.domain.mode import Mode
from autotuner.history.records import Ask, Control
from autotuner.history.store import History

WHO = "alertmanager"
_MODES = {Ask.PAUSE: Mode.PAUSED, Ask.RESUME: Mode.ACTIVE, Ask.ADVISORY: Mode.ADVISORY}


@dataclass
class AlertsIn:
    """Takes notifications for the targets in `modes`, each with the mode of its configuration."""

    history: History
    modes: Mapping[str, Mode]
    actions: frozenset[Action] = frozenset(Action)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, body: Any, now: float) -> list[str]:
        """What was done about each alert, and why. Kept as a whole or not at all.

        Raises NotUnderstoodError for a body that is no notification, HistoryError.
        """
        heard = read_notification(body)
        with self._turn, self.history.together():
            told = [line for alert in heard.alerts for line in self._take(alert, now)]
        return [*told, *heard.ignored]

    def _take(self, alert: IncomingAlert, now: float) -> Iterator[str]:
        if alert.action not in self.actions:
            yield f"{alert.name}: {alert.action} is not among alerts_in.actions"
        elif alert.target is not None and alert.target not in self.modes:
            known = ", ".join(sorted(self.modes))
            yield f"{alert.name}: target {alert.target!r} is unknown; known are {known}"
        else:
            for target in self.modes if alert.target is None else (alert.target,):
                yield f"{target}: {self._ask(alert, target, now)}"

    def _ask(self, alert: IncomingAlert, target: str, now: float) -> str:
        past = [_word(control) for control in self.history.asked_modes(target)]
        said = answer(alert, past, self.modes[target])
        if said.ask is not None:
            self.history.ask(target, said.ask, WHO, now, said.note, said.told)
        return said.note


def _word(control: Control) -> Word:
    ours = control.who == WHO and control.payload is not None and "holds" in control.payload
    return Word(_MODES[control.what], control.payload if ours else None)
