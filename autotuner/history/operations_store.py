"""What people ask of a daemon and what it says of itself, as rows."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from autotuner.domain.mode import Mode
from autotuner.history.records import Ask, Control, Heartbeat
from autotuner.history.sql import fetch, fetch_first, upsert
from autotuner.history.tables import controls, heartbeats

_MODE_AFTER = {Ask.PAUSE: Mode.PAUSED, Ask.ADVISORY: Mode.ADVISORY, Ask.RESUME: Mode.ACTIVE}


def write_ask(
    connection: Connection, target: str, what: Ask, who: str, at: float, note: str
) -> int:
    query = controls.insert().values(target=target, what=what, who=who, note=note, asked_at=at)
    return int(connection.execute(query.returning(controls.c.id)).scalar_one())


def take_controls(connection: Connection, target: str, now: float) -> list[Control]:
    query = (
        update(controls)
        .where(controls.c.target == target, controls.c.taken_at.is_(None))
        .values(taken_at=now)
        .returning(controls)
    )
    taken = [
        Control(
            id=row["id"],
            target=row["target"],
            what=Ask(row["what"]),
            who=row["who"],
            note=row["note"],
            asked_at=row["asked_at"],
        )
        for row in fetch(connection, query)
    ]
    return sorted(taken, key=lambda control: control.id)


def read_asked_mode(connection: Connection, target: str) -> Mode:
    query = (
        select(controls.c.what)
        .where(controls.c.target == target, controls.c.what.in_(_MODE_AFTER))
        .order_by(controls.c.id.desc())
        .limit(1)
    )
    last = connection.execute(query).scalar()
    return Mode.ACTIVE if last is None else _MODE_AFTER[Ask(last)]


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
