"""Sends what is due in the outbox, in order per receiver, at least once, and never drops it.

Knows no protocol of its own: a Sender does, and the outbox remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from autotuner.alerts.outbox import Outbox, OutboxEntry
from autotuner.domain.errors import AutotunerError

MAX_DELAY_S = 900.0
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
    """What one step did: notifications delivered, failed, and held back behind a failure."""

    delivered: int = 0
    failed: int = 0
    held: int = 0


def backoff_s(attempts: int, rng: np.random.Generator) -> float:
    """The wait before the next attempt: uniform up to 5 s × 2^attempts, at most 15 minutes.

    Full jitter, so that daemons that failed together do not come back together.
    """
    ceiling = min(MAX_DELAY_S, _BASE_DELAY_S * 2.0 ** min(attempts, _MAX_DOUBLINGS))
    return float(rng.uniform(0.0, ceiling))


class Courier:
    """Delivers due notifications. Remembers which receivers do not answer; not for threads."""

    def __init__(self, outbox: Outbox, senders: Mapping[str, Sender], seed: int) -> None:
        self._outbox = outbox
        self._senders = senders
        self._rng = np.random.default_rng(seed)
        self._silent_until: dict[str, float] = {}

    def deliver_due(self, now: float, limit: int = 50) -> DeliveryReport:
        """One step of the delivery loop; `now` in seconds (UTC). Raises only what the outbox does.

        Behind a receiver that does not answer its later notifications wait too: "resolved" never
        overtakes "firing". One that refuses a single notification gets the others meanwhile.
        """
        counts = {"delivered": 0, "failed": 0, "held": 0}
        for entry in sorted(self._outbox.due(now, limit), key=lambda due: due.id):
            counts[self._handle(entry, now)] += 1
        return DeliveryReport(**counts)

    def _handle(self, entry: OutboxEntry, now: float) -> str:
        silent_until = self._silent_until.get(entry.receiver, now)
        if silent_until > now:
            self._outbox.failed(entry.id, "waits: the receiver does not answer", silent_until)
            return "held"
        try:
            self._sender(entry.receiver).send(entry.payload)
        except DeliveryError as error:
            self._postpone(entry, error, now)
            return "failed"
        self._silent_until.pop(entry.receiver, None)
        self._outbox.delivered(entry.id, now)
        return "delivered"

    def _sender(self, receiver: str) -> Sender:
        if receiver not in self._senders:
            raise DeliveryError(f"receiver {receiver!r} is not configured: add it or rename it")
        return self._senders[receiver]

    def _postpone(self, entry: OutboxEntry, error: DeliveryError, now: float) -> None:
        delay_s = max(backoff_s(entry.attempts, self._rng), min(error.retry_after_s, MAX_DELAY_S))
        if error.receiver_down:
            self._silent_until[entry.receiver] = now + delay_s
        self._outbox.failed(entry.id, str(error), now + delay_s)
