"""What delivery asks of the outbox, and an outbox in memory for a daemon without a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol


class OutboxEntry(Protocol):
    """A notification to be sent. Ids rise in the order in which entries were written."""

    @property
    def id(self) -> int: ...

    @property
    def receiver(self) -> str: ...

    @property
    def payload(self) -> Mapping[str, Any]: ...

    @property
    def attempts(self) -> int:
        """How often `failed` was called for it."""
        ...


class Outbox(Protocol):
    """Notifications that were written down before they are sent. Each call is durable."""

    def due(self, now: float, limit: int, receiver: str | None = None, /) -> Sequence[OutboxEntry]:
        """At most `limit` undelivered entries whose next attempt is due, the longest waiting first.

        Of one receiver: those that may be sent, in the order of their ids. What comes later about
        an alert waits until what came earlier about it has been delivered.
        """
        ...

    def delivered(self, entry_id: int, at: float, /) -> None: ...

    def failed(self, entry_id: int, error: str, next_at: float, /) -> None:
        """Keeps the entry, counts the attempt, and hides it until `next_at`."""
        ...


@dataclass(frozen=True)
class MemoryEntry:
    """An OutboxEntry of the outbox in memory; `error` is empty where it was never tried."""

    id: int
    receiver: str
    payload: Mapping[str, Any]
    fingerprint: str = ""  # of its alert; entries without one do not wait for each other
    attempts: int = 0
    next_at: float = float("-inf")
    error: str = ""


class MemoryOutbox:
    """An Outbox that is lost with the process; delivered entries are forgotten at once."""

    def __init__(self) -> None:
        self._entries: dict[int, MemoryEntry] = {}
        self._last_id = 0

    def add(self, receiver: str, payload: Mapping[str, Any], fingerprint: str = "") -> int:
        self._last_id += 1
        self._entries[self._last_id] = MemoryEntry(self._last_id, receiver, payload, fingerprint)
        return self._last_id

    def due(self, now: float, limit: int, receiver: str | None = None) -> Sequence[MemoryEntry]:
        due = [entry for entry in self._entries.values() if entry.next_at <= now]
        if receiver is None:
            return sorted(due, key=lambda entry: (entry.next_at, entry.id))[:limit]
        return [e for e in due if e.receiver == receiver and not self._behind(e)][:limit]

    def _behind(self, entry: MemoryEntry) -> bool:
        """Whether something earlier about the same alert has not been delivered."""
        return entry.fingerprint != "" and any(
            other.id < entry.id
            and (other.receiver, other.fingerprint) == (entry.receiver, entry.fingerprint)
            for other in self._entries.values()
        )

    def delivered(self, entry_id: int, at: float) -> None:  # noqa: ARG002
        del self._entries[entry_id]

    def failed(self, entry_id: int, error: str, next_at: float) -> None:
        entry = self._entries[entry_id]
        self._entries[entry_id] = replace(
            entry, attempts=entry.attempts + 1, error=error, next_at=next_at
        )

    def undelivered(self) -> tuple[MemoryEntry, ...]:
        return tuple(self._entries.values())
