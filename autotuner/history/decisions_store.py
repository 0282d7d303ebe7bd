"""Decisions as rows: written before they act, finished by what became of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select, update

from autotuner.domain.errors import HistoryError
from autotuner.domain.knobs import Settings
from autotuner.history.records import DecisionOutcome, DecisionRecord
from autotuner.history.settings_store import write_settings
from autotuner.history.sql import Row, fetch
from autotuner.history.tables import decisions, settings

UNFINISHED = (DecisionOutcome.PENDING, DecisionOutcome.UNKNOWN)


def write_decision(
    connection: Connection, row: dict[str, Any], value: Settings | None, advisory: bool
) -> int:
    """Insert `row`, with `value` as the settings to apply; returns its id."""
    if value is not None:
        write_settings(connection, [value], row["decided_at"])
        outcome = DecisionOutcome.ADVISED if advisory else DecisionOutcome.PENDING
        row = {**row, "settings_digest": value.digest, "outcome": outcome}
    query = decisions.insert().values(outcome_note="", **row).returning(decisions.c.id)
    return int(connection.execute(query).scalar_one())


def finish_decision(
    connection: Connection,
    decision_id: int,
    outcome: DecisionOutcome,
    at: float,
    note: str,
    generation: int | None,
) -> None:
    query = select(decisions.c.outcome).where(decisions.c.id == decision_id).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        raise HistoryError(f"decision {decision_id}: there is no such decision")
    if row.outcome == outcome and outcome not in UNFINISHED:
        return
    if row.outcome not in UNFINISHED:
        raise HistoryError(
            f"decision {decision_id} is finished ({row.outcome or 'nothing to apply'}): "
            f"it can't become {outcome}"
        )
    connection.execute(
        update(decisions)
        .where(decisions.c.id == decision_id)
        .values(outcome=outcome, outcome_at=at, outcome_note=note, applied_generation=generation)
    )


def read_unfinished(connection: Connection, target: str) -> list[DecisionRecord]:
    query = (
        _with_settings()
        .where(decisions.c.target == target, decisions.c.outcome.in_(UNFINISHED))
        .order_by(decisions.c.id)
    )
    return [_record(row) for row in fetch(connection, query)]


def read_decisions(
    connection: Connection, target: str, before: int | None, limit: int
) -> list[DecisionRecord]:
    query = (
        _with_settings()
        .where(decisions.c.target == target)
        .order_by(decisions.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(decisions.c.id < before)
    return [_record(row) for row in fetch(connection, query)]


def _with_settings() -> Select[Any]:
    return select(decisions, settings.c.knobs).outerjoin(
        settings, settings.c.digest == decisions.c.settings_digest
    )


def _record(row: Row) -> DecisionRecord:
    return DecisionRecord(
        id=row["id"],
        target=row["target"],
        decided_at=row["decided_at"],
        action=row["action"],
        reason=row["reason"],
        generation=row["generation"],
        settings=None if row["knobs"] is None else Settings(row["knobs"]),
        experiment_id=row["experiment_id"],
        outcome=None if row["outcome"] is None else DecisionOutcome(row["outcome"]),
        outcome_at=row["outcome_at"],
        outcome_note=row["outcome_note"],
        applied_generation=row["applied_generation"],
        term=row["term"],
    )
