"""What people ask of a daemon and what it says of itself, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from autotuner.domain.errors import HistoryError
from autotuner.domain.mode import Mode
from autotuner.history.records import Ask, Control, Heartbeat
from autotuner.history.sql import Row, fetch, fetch_first, upsert
from autotuner.history.tables import controls, heartbeats

_MODE_AFTER = {Ask.PAUSE: Mode.PAUSED, Ask.ADVISORY: Mode.ADVISORY, Ask.RESUME: Mode.ACTIVE}


def write_ask(
    connection: Connection,
    target: str,
    what: Ask,
    who: str,
    at: float,
    note: str,
    payload: Mapping[str, Any] | None,
) -> int:
    row = {"target": target, "what": what, "who": who, "note": note, "asked_at": at}
    told = None if payload is None else dict(payload)
    query = controls.insert().values(**row, payload=told).returning(controls.c.id)
    return int(connection.execute(query).scalar_one())


def take_controls(connection: Connection, target: str, now: float) -> list[Control]:
    query = (
        update(controls)
        .where(
            controls.c.target == target,
            controls.c.taken_at.is_(None),
            controls.c.what != Ask.EXPERIMENT,
        )
        .values(taken_at=now)
        .returning(controls)
    )
    taken = [_control(row) for row in fetch(connection, query)]
    return sorted(taken, key=lambda control: control.id)


def read_control(connection: Connection, control_id: int) -> Control | None:
    row = fetch_first(connection, select(controls).where(controls.c.id == control_id))
    return None if row is None else _control(row)


def read_declared(
    connection: Connection, target: str | None, before: int | None, limit: int
) -> list[Control]:
    return read_controls(connection, target, before, limit, Ask.EXPERIMENT)


def read_controls(
    connection: Connection,
    target: str | None,
    before: int | None,
    limit: int,
    what: Ask | None = None,
) -> list[Control]:
    """Newest first; of one target and of one kind, or of all."""
    query = select(controls)
    if what is not None:
        query = query.where(controls.c.what == what)
    if target is not None:
        query = query.where(controls.c.target == target)
    if before is not None:
        query = query.where(controls.c.id < before)
    return [
        _control(row)
        for row in fetch(connection, query.order_by(controls.c.id.desc()).limit(limit))
    ]


def read_next_declared(connection: Connection, target: str) -> Control | None:
    query = (
        select(controls)
        .where(
            controls.c.target == target,
            controls.c.taken_at.is_(None),
            controls.c.what == Ask.EXPERIMENT,
        )
        .order_by(controls.c.id)
        .limit(1)
    )
    row = fetch_first(connection, query)
    return None if row is None else _control(row)


def take_control(
    connection: Connection, control_id: int, at: float, result: str, experiment_id: str | None
) -> None:
    query = (
        update(controls)
        .where(controls.c.id == control_id, controls.c.taken_at.is_(None))
        .values(taken_at=at, result=result or None, experiment_id=experiment_id)
        .returning(controls.c.id)
    )
    if connection.execute(query).first() is None:
        raise HistoryError(_not_to_take(read_control(connection, control_id), control_id))


def _not_to_take(found: Control | None, control_id: int) -> str:
    if found is None:
        return f"request {control_id}: there is no such request"
    became = found.result or found.experiment_id or "it was handed to a daemon"
    return f"request {control_id} was taken already: {became}"


def _control(row: Row) -> Control:
    return Control(**{**row, "what": Ask(row["what"])})


def read_asked_mode(connection: Connection, target: str) -> Mode:
    query = (
        select(controls.c.what)
        .where(controls.c.target == target, controls.c.what.in_(_MODE_AFTER))
        .order_by(controls.c.id.desc())
        .limit(1)
    )
    last = connection.execute(query).scalar()
    return Mode.ACTIVE if last is None else _MODE_AFTER[Ask(last)]


def read_asked_modes(connection: Connection, target: str, limit: int) -> list[Control]:
    query = (
        select(controls)
        .where(controls.c.target == target, controls.c.what.in_(_MODE_AFTER))
        .order_by(controls.c.id.desc())
        .limit(limit)
    )
    return [_control(row) for row in fetch(connection, query)]


def write_heartbeat(
    connection: Connection, daemon_id: str, target: str, at: float, sentence: str, mode: Mode
) -> None:
    same = (heartbeats.c.daemon_id == daemon_id) & (heartbeats.c.target == target)
    beat = {"beat_at": at, "sentence": sentence, "mode": str(mode)}
    again = update(heartbeats).where(same).values(cycles=heartbeats.c.cycles + 1, **beat)
    if connection.execute(again).rowcount == 0:
        row = {"daemon_id": daemon_id, "target": target, "cycles": 1, **beat}
        upsert(connection, heartbeats, [row])


def read_heartbeat(connection: Connection, target: str) -> Heartbeat | None:
    """The latest heartbeat of any daemon on `target`."""
    query = (
        select(heartbeats)
        .where(heartbeats.c.target == target)
        .order_by(heartbeats.c.beat_at.desc(), heartbeats.c.daemon_id)
        .limit(1)
    )
    row = fetch_first(connection, query)
    if row is None:
        return None
    return Heartbeat(
        daemon_id=row["daemon_id"],
        target=row["target"],
        at=row["beat_at"],
        sentence=row["sentence"],
        mode=Mode(row["mode"]),
        cycles=row["cycles"],
    )
