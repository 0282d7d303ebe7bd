"""Ready-made questions for the command line and the web page: read only, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, select, tuple_

from autotuner.domain.experiment import Phase, Verdict
from autotuner.domain.knobs import Settings
from autotuner.history.alert_tables import alerts, outbox
from autotuner.history.columns import nan_if_null
from autotuner.history.decisions_store import read_decisions
from autotuner.history.operations_store import read_heartbeat
from autotuner.history.records import ExperimentSummary, TargetStatus
from autotuner.history.rows import plan_of
from autotuner.history.settings_store import read_incumbent
from autotuner.history.sql import Row, fetch, fetch_first
from autotuner.history.tables import experiments, settings, targets

_control, _treatment = settings.alias("control"), settings.alias("treatment")


def list_experiments(
    connection: Connection,
    target: str | None,
    verdict: Verdict | None,
    before: str | None,
    limit: int,
) -> list[ExperimentSummary]:
    """Up to `limit` experiments that started before the one with id `before`."""
    position = tuple_(experiments.c.started_at, experiments.c.id)
    query = _summaries().order_by(experiments.c.started_at.desc(), experiments.c.id.desc())
    if target is not None:
        query = query.where(experiments.c.target == target)
    if verdict is not None:
        query = query.where(experiments.c.verdict == verdict)
    if before is not None:
        seen = experiments.alias("seen")
        last = select(seen.c.started_at, seen.c.id).where(seen.c.id == before).scalar_subquery()
        query = query.where(position < last)
    return [_summary(row) for row in fetch(connection, query.limit(limit))]


def _summaries() -> Select[Any]:
    return (
        select(
            experiments,
            _control.c.knobs.label("control_knobs"),
            _treatment.c.knobs.label("treatment_knobs"),
        )
        .join(_control, _control.c.digest == experiments.c.control_digest)
        .join(_treatment, _treatment.c.digest == experiments.c.treatment_digest)
    )


def _summary(row: Row) -> ExperimentSummary:
    plan = plan_of(row["plan"])
    return ExperimentSummary(
        id=row["id"],
        target=row["target"],
        phase=Phase(row["phase"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        reason=row["reason"],
        pairs=row["pairs"],
        effect=nan_if_null(row["effect"]),
        low=nan_if_null(row["low"]),
        high=nan_if_null(row["high"]),
        confidence=nan_if_null(row["confidence"]),
        proposer=row["proposer"],
        rationale=row["rationale"],
        predicted_effect=row["predicted_effect"],
        control=Settings(row["control_knobs"]),
        treatment=Settings(row["treatment_knobs"]),
        outcome=plan.outcome,
        design=plan.design,
    )


def target_names(connection: Connection) -> list[str]:
    return list(connection.execute(select(targets.c.name).order_by(targets.c.name)).scalars())


def target_status(connection: Connection, target: str) -> TargetStatus:
    """Everything a status page needs; a target that nobody recorded has only its name."""
    running = (
        _summaries()
        .where(experiments.c.target == target, experiments.c.phase != Phase.CLOSED)
        .order_by(experiments.c.started_at.desc())
        .limit(1)
    )
    row = fetch_first(connection, running)
    return TargetStatus(
        target=target,
        incumbent=read_incumbent(connection, target),
        running=None if row is None else _summary(row),
        heartbeat=read_heartbeat(connection, target),
        last_decision=next(iter(read_decisions(connection, target, None, 1)), None),
        firing_alerts=_count(
            connection,
            select(func.count())
            .select_from(alerts)
            .where(alerts.c.target == target, alerts.c.ends_at.is_(None)),
        ),
        undelivered=_count(
            connection,
            select(func.count()).select_from(outbox).where(outbox.c.delivered_at.is_(None)),
        ),
        verdicts=_verdicts(connection, target),
    )


def _count(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(query).scalar_one())


def _verdicts(connection: Connection, target: str) -> dict[str, int]:
    query = (
        select(experiments.c.verdict, func.count())
        .where(experiments.c.target == target, experiments.c.verdict.is_not(None))
        .group_by(experiments.c.verdict)
    )
    return {row[0]: row[1] for row in connection.execute(query)}
