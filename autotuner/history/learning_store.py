"""What the agent learns from as rows: its model's predictions beside what came, its releases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from autotuner.domain.knobs import Settings
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.history.columns import nan_if_null
from autotuner.history.settings_store import write_settings
from autotuner.history.sql import Row, fetch
from autotuner.history.tables import agent_releases, model_checks, settings


def write_checks(connection: Connection, target: str, checks: Sequence[ModelCheck]) -> None:
    if not checks:
        return
    seen = [check.settings for check in checks if check.settings is not None]
    write_settings(connection, seen, min(check.at for check in checks))
    connection.execute(insert(model_checks), [_check_row(target, check) for check in checks])


def _check_row(target: str, check: ModelCheck) -> dict[str, Any]:
    return {
        "target": target,
        "checked_at": check.at,
        "figure": check.figure,
        "predicted": check.predicted,
        "measured": check.measured,
        "settings_digest": None if check.settings is None else check.settings.digest,
        "experiment_id": check.experiment or None,
    }


def read_checks(
    connection: Connection, target: str, since: float, figure: str | None
) -> tuple[ModelCheck, ...]:
    query = (
        select(model_checks, settings.c.knobs)
        .outerjoin(settings, settings.c.digest == model_checks.c.settings_digest)
        .where(model_checks.c.target == target, model_checks.c.checked_at >= since)
        .order_by(model_checks.c.checked_at, model_checks.c.id)
    )
    if figure is not None:
        query = query.where(model_checks.c.figure == figure)
    return tuple(_check(row) for row in fetch(connection, query))


def _check(row: Row) -> ModelCheck:
    return ModelCheck(
        at=row["checked_at"],
        figure=row["figure"],
        predicted=nan_if_null(row["predicted"]),
        measured=nan_if_null(row["measured"]),
        settings=None if row["knobs"] is None else Settings(row["knobs"]),
        experiment=row["experiment_id"] or "",
    )


def write_release(connection: Connection, release: AgentRelease) -> None:
    connection.execute(
        insert(agent_releases).values(
            target=release.target,
            released_at=release.at,
            version=release.version,
            parent=release.parent,
            digest=release.digest,
            path=release.path,
            reason=release.reason,
            score=release.score,
            score_before=release.before,
            systems=release.systems,
        )
    )


def read_releases(connection: Connection, target: str, limit: int) -> tuple[AgentRelease, ...]:
    """Newest first, in the order in which they were written."""
    query = (
        select(agent_releases)
        .where(agent_releases.c.target == target)
        .order_by(agent_releases.c.id.desc())
        .limit(limit)
    )
    return tuple(_release(row) for row in fetch(connection, query))


def _release(row: Row) -> AgentRelease:
    return AgentRelease(
        at=row["released_at"],
        target=row["target"],
        version=row["version"],
        parent=row["parent"],
        digest=row["digest"],
        path=row["path"],
        reason=row["reason"],
        score=nan_if_null(row["score"]),
        before=nan_if_null(row["score_before"]),
        systems=row["systems"],
    )
