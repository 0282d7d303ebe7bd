"""Silences as rows: never deleted by hand, only ended."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from autotuner.domain.silences import Silence
from autotuner.history.alert_tables import silences
from autotuner.history.sql import Row, fetch


def write_silence(connection: Connection, silence: Silence) -> int:
    """The id of the new silence."""
    row = {
        "target": silence.target,
        "alert": silence.alert,
        "labels": dict(silence.labels),
        "author": silence.author,
        "comment": silence.comment,
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
    }
    query = silences.insert().values(**row).returning(silences.c.id)
    return int(connection.execute(query).scalar_one())


def read_silences(connection: Connection, now: float | None) -> tuple[Silence, ...]:
    query = select(silences).order_by(silences.c.id.desc())
    if now is not None:
        query = query.where(silences.c.ends_at > now)
    return tuple(_silence(row) for row in fetch(connection, query))


def end_silence(connection: Connection, silence_id: int, now: float, note: str = "") -> bool:
    """False where there is none that has not ended. One that waits never begins."""
    lasting = (silences.c.id == silence_id) & (silences.c.ends_at > now)
    noted = {"comment": silences.c.comment + f" ({note})"} if note else {}
    ended = update(silences).where(lasting).values(ends_at=now, **noted)
    return connection.execute(ended).rowcount == 1


def _silence(row: Row) -> Silence:
    return Silence(
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        author=row["author"],
        comment=row["comment"],
        target=row["target"],
        alert=row["alert"],
        labels=tuple(sorted(row["labels"].items())),
        id=row["id"],
    )
