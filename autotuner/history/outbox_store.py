"""The outbox: what is to be delivered, how often it was tried, when it is due again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, select, update

from autotuner.domain.errors import HistoryError
from autotuner.history.alert_tables import outbox
from autotuner.history.records import Delivery, OutboxMessage
from autotuner.history.sql import Row, fetch, insert_missing


def enqueue(connection: Connection, message: OutboxMessage, at: float) -> bool:
    """False where the same receiver, fingerprint, status and occasion are there already."""
    row = {
        "receiver": message.receiver,
        "fingerprint": message.fingerprint,
        "status": message.status,
        "occasion_at": message.occasion_at,
        "payload": dict(message.payload),
        "attempts": 0,
        "created_at": at,
        "next_at": at,
    }
    return insert_missing(connection, outbox, [row]) == 1


def read_due(
    connection: Connection, now: float, limit: int, receiver: str | None = None
) -> list[Delivery]:
    query = select(outbox).where(outbox.c.delivered_at.is_(None), outbox.c.next_at <= now)
    if receiver is None:
        query = query.order_by(outbox.c.next_at, outbox.c.id)
    else:
        query = query.where(outbox.c.receiver == receiver, ~_behind_another())
        query = query.order_by(outbox.c.id)
    return [_delivery(row) for row in fetch(connection, query.limit(limit))]


def _behind_another() -> ColumnElement[bool]:
    """Whether something earlier about the same alert waits; what was given up holds up nothing."""
    earlier = outbox.alias("earlier")
    return exists().where(
        earlier.c.receiver == outbox.c.receiver,
        earlier.c.fingerprint == outbox.c.fingerprint,
        earlier.c.id < outbox.c.id,
        earlier.c.delivered_at.is_(None),
        earlier.c.next_at.is_not(None),
    )


def _delivery(row: Row) -> Delivery:
    return Delivery(
        id=row["id"],
        receiver=row["receiver"],
        fingerprint=row["fingerprint"],
        status=row["status"],
        payload=row["payload"],
        attempts=row["attempts"],
        created_at=row["created_at"],
        last_error=row["last_error"],
    )


def mark_delivered(connection: Connection, delivery_id: int, at: float) -> None:
    _change(
        connection,
        delivery_id,
        {"attempts": outbox.c.attempts + 1, "delivered_at": at, "next_at": None},
    )


def mark_failed(
    connection: Connection, delivery_id: int, error: str, next_at: float | None
) -> None:
    _change(
        connection,
        delivery_id,
        {"attempts": outbox.c.attempts + 1, "last_error": error, "next_at": next_at},
    )


def _change(connection: Connection, delivery_id: int, values: dict[str, Any]) -> None:
    open_one = (outbox.c.id == delivery_id) & outbox.c.delivered_at.is_(None)
    if connection.execute(update(outbox).where(open_one).values(values)).rowcount != 1:
        raise HistoryError(f"delivery {delivery_id}: there is no such undelivered message")
