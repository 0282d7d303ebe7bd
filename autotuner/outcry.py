"""Tells one receiver that the history is away, past the outbox, which is away with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from autotuner.alerts.conditions import Builtin, Condition
from autotuner.alerts.delivery import DeliveryError, Sender
from autotuner.alerts.payload import webhook_payload
from autotuner.domain.forecasts import Alert

RETRY_S = 10.0  # chosen: a receiver that is down too is asked this often


@dataclass
class Outcry:
    """For one thread. `repeat_s`: how often a receiver is to hear what fires; None: once.

    The alert is the one that the daemon records of each target once the history is back.
    """

    receiver: str
    sender: Sender
    targets: Sequence[str]
    repeat_s: float | None = None
    _since: float | None = field(default=None, init=False)
    _next_at: float = field(default=0.0, init=False)
    _retry_at: float = field(default=0.0, init=False)
    _told: bool = field(default=False, init=False)
    _problem: str = field(default="", init=False)

    def away(self, problem: str, now: float) -> str | None:
        """The history can't be used; returns why the receiver could not be told, if so."""
        self._since = now if self._since is None else self._since
        self._problem = problem
        lasting = now - self._since >= Builtin.HISTORY_AWAY.timing.for_s
        if not lasting or now < self._next_at or (self._told and self.repeat_s is None):
            return None
        failed = self._send(None)
        self._told = self._told or failed is None
        self._next_at = now + (RETRY_S if failed or self.repeat_s is None else self.repeat_s)
        return failed

    def back(self, now: float) -> str | None:
        """The history answers again; who was told that it did not is told of that too."""
        if self._since is None or (self._told and now < self._retry_at):
            return None
        failed = self._send(now) if self._told else None
        if failed is None:
            self._since, self._told, self._next_at = None, False, 0.0
        self._retry_at = now + RETRY_S if failed else 0.0
        return failed

    def _send(self, ended_at: float | None) -> str | None:
        assert self._since is not None, "nothing is told before it is away"
        try:
            for target in self.targets:
                alert = self._alert(target, self._since, ended_at)
                self.sender.send(webhook_payload([alert], self.receiver))
        except DeliveryError as problem:
            return str(problem)
        return None

    def _alert(self, target: str, since: float, ended_at: float | None) -> Alert:
        subject = Condition(Builtin.HISTORY_AWAY, True, self._problem).subject(target)
        return Alert(
            fingerprint=subject.fingerprint,
            name=subject.name,
            severity=subject.severity,
            target=target,
            summary=f"{self._problem}; the daemon holds, and alerts wait until it is back",
            starts_at=since,
            ends_at=ended_at,
        )
