"""Intakes and fine-tunes as rows."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, insert, select, update

from autotuner.domain.errors import HistoryError
from autotuner.domain.fine_tuning import FineTune, Intake, Scores, Stage
from autotuner.history.columns import nan_if_null
from autotuner.history.fine_tune_tables import fine_tunes, intakes
from autotuner.history.sql import Row, fetch, fetch_first

_SCORES = tuple(item.name for item in fields(Scores))


def write_intake(connection: Connection, intake: Intake) -> None:
    row = asdict(intake)
    row["taken_at"] = row.pop("at")
    connection.execute(insert(intakes).values(**row))


def read_intakes(connection: Connection, target: str, limit: int) -> tuple[Intake, ...]:
    query = (
        select(intakes).where(intakes.c.target == target).order_by(intakes.c.id.desc()).limit(limit)
    )
    return tuple(_intake(row) for row in fetch(connection, query))


def _intake(row: Row) -> Intake:
    kept = {name: value for name, value in row.items() if name not in ("id", "taken_at", "seconds")}
    return Intake(at=row["taken_at"], seconds=nan_if_null(row["seconds"]), **kept)


def write_fine_tune(connection: Connection, one: FineTune) -> int:
    """The id of a new fine-tune, or of the one that was there under its id and is now as given."""
    row = _row(one)
    if one.id == 0:
        made = connection.execute(insert(fine_tunes).values(**row).returning(fine_tunes.c.id))
        return int(made.scalar_one())
    changed = update(fine_tunes).where(fine_tunes.c.id == one.id).values(**row)
    if connection.execute(changed).rowcount != 1:
        raise HistoryError(f"fine-tune {one.name}: id={one.id}: not recorded")
    return one.id


def read_fine_tunes(connection: Connection, target: str, limit: int) -> tuple[FineTune, ...]:
    query = (
        select(fine_tunes)
        .where(fine_tunes.c.target == target)
        .order_by(fine_tunes.c.id.desc())
        .limit(limit)
    )
    return tuple(_fine_tune(row) for row in fetch(connection, query))


def read_fine_tune(connection: Connection, target: str, name: str) -> FineTune | None:
    query = select(fine_tunes).where(fine_tunes.c.target == target, fine_tunes.c.name == name)
    row = fetch_first(connection, query)
    return None if row is None else _fine_tune(row)


def _row(one: FineTune) -> dict[str, Any]:
    return {
        "target": one.target,
        "name": one.name,
        "parent": one.parent,
        "versions": list(one.versions),
        "planned_at": one.planned_at,
        "changed_at": one.changed_at,
        "stage": str(one.stage),
        "examples": one.examples,
        "replayed": one.replayed,
        "attempts": one.attempts,
        "seconds": one.seconds,
        "update_s": one.update_s,
        **asdict(one.scores),
        "reason": one.reason,
        "request_id": one.request_id,
        "experiment_id": one.experiment_id,
    }


def _fine_tune(row: Row) -> FineTune:
    return FineTune(
        target=row["target"],
        name=row["name"],
        parent=row["parent"],
        versions=tuple(row["versions"]),
        planned_at=row["planned_at"],
        changed_at=row["changed_at"],
        stage=Stage(row["stage"]),
        examples=row["examples"],
        replayed=row["replayed"],
        attempts=row["attempts"],
        seconds=nan_if_null(row["seconds"]),
        update_s=nan_if_null(row["update_s"]),
        scores=Scores(**{name: nan_if_null(row[name]) for name in _SCORES}),
        reason=row["reason"],
        request_id=row["request_id"],
        experiment_id=row["experiment_id"],
        id=row["id"],
    )
