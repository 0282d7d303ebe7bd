"""Targets, settings, incumbents, quarantine and agents as rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, or_, select, update

from autotuner.domain.knobs import Settings
from autotuner.history.records import Incumbent, IncumbentRecord, Quarantine
from autotuner.history.sql import Row, fetch, insert_missing, upsert
from autotuner.history.tables import agents, incumbents, quarantines, settings, targets

LIFTED = "lifted by "  # leads the reason of a quarantine that a person ended


def write_target(
    connection: Connection, name: str, kind: str, url: str, at: float, info: dict[str, Any]
) -> None:
    row = {
        "name": name,
        "kind": kind,
        "url": url,
        "info": info,
        "first_seen_at": at,
        "last_seen_at": at,
    }
    upsert(connection, targets, [row], keep=["first_seen_at"])


def read_target_info(connection: Connection, name: str) -> dict[str, Any]:
    query = select(targets.c.info).where(targets.c.name == name)
    return dict(connection.execute(query).scalar() or {})


def write_settings(connection: Connection, values: Iterable[Settings], at: float) -> None:
    # In one order everywhere, so that two writers of the same rows can't wait for each other.
    for digest, item in sorted({item.digest: item for item in values}.items()):
        row = {"digest": digest, "knobs": dict(item), "first_seen_at": at}
        insert_missing(connection, settings, [row])


def read_settings(connection: Connection, digests: Iterable[str]) -> dict[str, Settings]:
    """The settings by digest; one that is not stored is absent."""
    query = select(settings.c.digest, settings.c.knobs).where(settings.c.digest.in_(set(digests)))
    return {digest: Settings(knobs) for digest, knobs in connection.execute(query)}


def write_incumbent(
    connection: Connection,
    target: str,
    value: Settings,
    at: float,
    why: str,
    experiment_id: str | None,
) -> None:
    # The target's row is there to be locked even when it has no incumbent yet.
    whole = select(targets.c.name).where(targets.c.name == target)
    connection.execute(whole.with_for_update(key_share=True))
    live = (incumbents.c.target == target) & incumbents.c.until_at.is_(None)
    query = select(incumbents.c.settings_digest).where(live)
    if connection.execute(query).scalar() == value.digest:
        return
    write_settings(connection, [value], at)
    connection.execute(update(incumbents).where(live).values(until_at=at))
    connection.execute(
        incumbents.insert().values(
            target=target,
            settings_digest=value.digest,
            since_at=at,
            why=why,
            experiment_id=experiment_id,
        )
    )


def read_incumbent(connection: Connection, target: str) -> Incumbent | None:
    query = (
        select(settings.c.knobs, incumbents.c.since_at, incumbents.c.why)
        .join(settings, settings.c.digest == incumbents.c.settings_digest)
        .where(incumbents.c.target == target, incumbents.c.until_at.is_(None))
    )
    row = connection.execute(query).first()
    return None if row is None else Incumbent(Settings(row.knobs), row.since_at, row.why)


def read_incumbents(
    connection: Connection, target: str, before: int | None, limit: int
) -> list[IncumbentRecord]:
    query = (
        select(incumbents, settings.c.knobs)
        .join(settings, settings.c.digest == incumbents.c.settings_digest)
        .where(incumbents.c.target == target)
        .order_by(incumbents.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(incumbents.c.id < before)
    return [_incumbent_record(row) for row in fetch(connection, query)]


def _incumbent_record(row: Row) -> IncumbentRecord:
    return IncumbentRecord(
        id=row["id"],
        target=row["target"],
        settings=Settings(row["knobs"]),
        since_at=row["since_at"],
        until_at=row["until_at"],
        why=row["why"],
        experiment_id=row["experiment_id"],
    )


def write_quarantine(
    connection: Connection,
    target: str,
    value: Settings,
    reason: str,
    at: float,
    until: float | None,
) -> None:
    write_settings(connection, [value], at)
    row = {
        "target": target,
        "settings_digest": value.digest,
        "reason": reason,
        "since_at": at,
        "until_at": until,
    }
    upsert(connection, quarantines, [row])


def read_quarantines(connection: Connection, target: str, now: float) -> dict[str, float]:
    table = quarantines.c
    held = or_(table.until_at.is_(None), table.until_at > now)
    query = select(table.settings_digest, table.until_at).where(table.target == target, held)
    return {row[0]: math.inf if row[1] is None else row[1] for row in connection.execute(query)}


def read_barred(connection: Connection, target: str) -> list[tuple[Settings, str]]:
    table = quarantines.c
    query = (
        select(settings.c.knobs, table.reason)
        .join(settings, settings.c.digest == table.settings_digest)
        .where(table.target == target, table.until_at.is_(None))
        .order_by(table.since_at, table.settings_digest)
    )
    return [(Settings(knobs), reason) for knobs, reason in connection.execute(query)]


def read_held(connection: Connection, target: str | None, now: float) -> list[Quarantine]:
    table = quarantines.c
    query = (
        select(quarantines, settings.c.knobs)
        .join(settings, settings.c.digest == table.settings_digest)
        .where(or_(table.until_at.is_(None), table.until_at > now))
        .order_by(table.target, table.since_at, table.settings_digest)
    )
    if target is not None:
        query = query.where(table.target == target)
    return [
        Quarantine(
            row["target"], Settings(row["knobs"]), row["reason"], row["since_at"], row["until_at"]
        )
        for row in fetch(connection, query)
    ]


def lift(connection: Connection, held: Quarantine, who: str, why: str, at: float) -> bool:
    """Whether it still was as `held` says."""
    table = quarantines.c
    told = f"{LIFTED}{who} ({why}); it was: {held.reason}"
    query = (
        update(quarantines)
        .where(
            table.target == held.target,
            table.settings_digest == held.settings.digest,
            table.since_at == held.since_at,
            or_(table.until_at.is_(None), table.until_at > at),
        )
        .values(until_at=at, reason=told)
    )
    return connection.execute(query).rowcount > 0


def read_lifted(connection: Connection, target: str) -> frozenset[tuple[str, float]]:
    table = quarantines.c
    query = select(table.settings_digest, table.until_at).where(
        table.target == target,
        table.until_at.is_not(None),
        table.reason.startswith(LIFTED, autoescape=True),
    )
    return frozenset((digest, at) for digest, at in connection.execute(query))


def write_agent(
    connection: Connection, name: str, version: str, digest: str, info: dict[str, Any], at: float
) -> None:
    row = {"name": name, "version": version, "digest": digest, "info": info, "first_seen_at": at}
    upsert(connection, agents, [row], keep=["first_seen_at"])
