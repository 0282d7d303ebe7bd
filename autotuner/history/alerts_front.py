"""The front's part for alerts, their delivery and silences; knows no SQL."""

from __future__ import annotations

from collections.abc import Sequence

from autotuner.domain.forecasts import Alert
from autotuner.domain.silences import Silence
from autotuner.history import alerts_store, outbox_store, silences_store
from autotuner.history.front import Front
from autotuner.history.records import Delivery, OutboxMessage


class AlertsFront(Front):
    """What people should know, and whether they were told."""

    def record_alert(self, alert: Alert, at: float, messages: Sequence[OutboxMessage] = ()) -> None:
        """The alert and what is to be delivered about it, together or not at all."""
        with self._db.writing() as connection:
            alerts_store.write_alert(connection, alert, at)
            for message in messages:
                outbox_store.enqueue(connection, message, at)

    def firing_alerts(self, target: str, told_to: str | None = None) -> list[Alert]:
        """All, or those of which the receiver `told_to` has been, or is to be, told."""
        return self._db.read(alerts_store.read_firing, target, told_to)

    def alerts(self, target: str | None = None, *, since: float, limit: int = 200) -> list[Alert]:
        """Those that started, or still fired, at or after `since`; newest first."""
        return self._db.read(alerts_store.read_alerts, target, since, limit)

    def reach(self) -> None:
        """Raises HistoryUnavailableError where nothing can be written now; writes nothing."""
        with self._db.writing():
            pass

    def enqueue(self, message: OutboxMessage, at: float) -> bool:
        """False where the same message was already enqueued (delivered or not)."""
        return self._db.write(outbox_store.enqueue, message, at)

    def due(self, now: float, limit: int = 50, receiver: str | None = None) -> list[Delivery]:
        """The longest waiting first; of one `receiver` by id, and of each alert only its first."""
        return self._db.read(outbox_store.read_due, now, limit, receiver)

    def delivered(self, delivery_id: int, at: float) -> None:
        self._db.write(outbox_store.mark_delivered, delivery_id, at)

    def failed(self, delivery_id: int, error: str, next_at: float | None) -> None:
        """An attempt failed; the next is at `next_at` (None: given up, never due again)."""
        self._db.write(outbox_store.mark_failed, delivery_id, error, next_at)

    def add_silence(self, silence: Silence) -> int:
        """The id under which it is stored; its own is not looked at."""
        return self._db.write(silences_store.write_silence, silence)

    def silences(self, now: float | None = None) -> tuple[Silence, ...]:
        """Those that have not ended at `now`, also such as have yet to begin; newest first.

        None: every one.
        """
        return self._db.read(silences_store.read_silences, now)

    def end_silence(self, silence_id: int, now: float, note: str = "") -> bool:
        """False where there is none with this id that has not ended; a `note` joins its comment."""
        return self._db.write(silences_store.end_silence, silence_id, now, note)
