"""Sends what is due in the outbox to one receiver, in order, at least once, and never drops it.

Knows no protocol of its own: a Sender does, and the outbox remembers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from autotuner.alerts.outbox import Outbox, OutboxEntry
from autotuner.alerts.pace import Pace
from autotuner.domain.errors import AutotunerError

# Chosen: a receiver that is down is asked this often, so that an alert is at most this late.
MAX_DELAY_S = 120.0
MAX_RETRY_AFTER_S = 900.0  # chosen: the longest that a receiver may ask to be left alone
STEP_S = 10.0  # chosen: no attempt begins later in a step, so that a stop does not wait for long
_BASE_DELAY_S = 5.0
_MAX_DOUBLINGS = 8


class DeliveryError(AutotunerError):
    """A notification was not taken. Its text never holds an address or a secret.

    `receiver_down` tells that any other notification would have failed too; `retry_after_s` is
    what the receiver asked for.
    """

    def __init__(
        self, message: str, *, receiver_down: bool = True, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.receiver_down, self.retry_after_s = receiver_down, retry_after_s


class Sender(Protocol):
    """Takes a notification to one receiver. Raises DeliveryError."""

    def send(self, payload: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class DeliveryReport:
    """What one step did: notifications delivered, failed, and left waiting though due.

    `problem` says what went wrong last.
    """

    delivered: int = 0
    failed: int = 0
    held: int = 0
    problem: str = ""


def backoff_s(failures: int, rng: np.random.Generator) -> float:
    """The wait before the next attempt: uniform up to 5 s × 2^failures, at most 2 minutes.

    Full jitter, so that daemons that failed together do not come back together.
    """
    ceiling = min(MAX_DELAY_S, _BASE_DELAY_S * 2.0 ** min(failures, _MAX_DOUBLINGS))
    return float(rng.uniform(0.0, ceiling))


class Courier:
    """Delivers one receiver's notifications, in the order of their ids. Not for threads.

    While the receiver does not answer, or has had its share for this minute, all of them wait
    where they are. One that it refuses by itself is tried again later, and holds up only what
    comes after it about the same alert: "resolved" never overtakes "firing".
    """

    def __init__(
        self,
        outbox: Outbox,
        receiver: str,
        sender: Sender,
        pace: Pace,
        seed: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._receiver, self._sender = outbox, receiver, sender
        self._pace, self._monotonic = pace, monotonic
        self._rng = np.random.default_rng(seed)
        self._silent_until, self._failures = float("-inf"), 0

    def deliver_due(self, now: float, limit: int = 50) -> DeliveryReport:
        """One step of the delivery loop; `now` in seconds (UTC). Raises only what the outbox does.

        A step sends at most `limit`, and begins no attempt once 10 s have passed.
        """
        if now < self._silent_until:
            return DeliveryReport()
        due = self._outbox.due(now, limit, self._receiver)
        began, delivered, problems = self._monotonic(), 0, list[str]()
        for entry in due:
            at = now + self._monotonic() - began
            if at < self._silent_until or at - now > STEP_S or not self._pace.free(at):
                break
            problem = self._try(entry, at)
            delivered += problem is None
            problems += [] if problem is None else [problem]
        held = len(due) - delivered - len(problems)
        return DeliveryReport(delivered, len(problems), held, problems[-1] if problems else "")

    def _try(self, entry: OutboxEntry, at: float) -> str | None:
        """Why it was not delivered; None when it was."""
        self._pace.count(at)
        try:
            self._sender.send(entry.payload)
        except DeliveryError as error:
            self._postpone(entry, error, at)
            return str(error)
        self._failures = 0
        self._outbox.delivered(entry.id, at)
        return None

    def _postpone(self, entry: OutboxEntry, error: DeliveryError, at: float) -> None:
        failures = self._failures if error.receiver_down else entry.attempts
        asked_s = min(error.retry_after_s, MAX_RETRY_AFTER_S)
        next_at = at + max(backoff_s(failures, self._rng), asked_s)
        if error.receiver_down:
            self._silent_until, self._failures = next_at, self._failures + 1
        self._outbox.failed(entry.id, str(error), next_at)


def mark_strays(outbox: Outbox, receivers: Collection[str], now: float) -> int:
    """How many due notifications are newly found to be for nobody in `receivers`.

    Each is kept, with a note that says so, and delivered as soon as its receiver is configured:
    here or in another daemon on the same outbox.
    """
    due = outbox.due(now, 1000)
    strays = [entry for entry in due if entry.receiver not in receivers and entry.attempts == 0]
    for entry in strays:
        problem = f"receiver {entry.receiver!r} is not configured: add it or rename it"
        outbox.failed(entry.id, problem, now)
    return len(strays)
