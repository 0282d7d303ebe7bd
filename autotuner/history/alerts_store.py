"""Alerts as rows: one per episode, from its start to its resolution."""

from __future__ import annotations

from sqlalchemy import Connection, exists, or_, select, update

from autotuner.domain.forecasts import Alert
from autotuner.history.alert_tables import alerts, outbox
from autotuner.history.sql import Row, fetch, insert_missing


def write_alert(connection: Connection, alert: Alert, at: float) -> None:
    """Insert the episode (fingerprint, starts_at), or bring it up to date."""
    changing = {
        "severity": alert.severity,
        "summary": alert.summary,
        "labels": dict(alert.labels),
        "ends_at": alert.ends_at,
        "updated_at": at,
    }
    row = {
        "target": alert.target,
        "fingerprint": alert.fingerprint,
        "name": alert.name,
        "starts_at": alert.starts_at,
        **changing,
    }
    if not insert_missing(connection, alerts, [row]):
        same = (alerts.c.fingerprint == alert.fingerprint) & (alerts.c.starts_at == alert.starts_at)
        connection.execute(update(alerts).where(same).values(changing))


def read_firing(connection: Connection, target: str, told_to: str | None = None) -> list[Alert]:
    query = select(alerts).where(alerts.c.target == target, alerts.c.ends_at.is_(None))
    if told_to is not None:
        told = exists().where(
            outbox.c.receiver == told_to,
            outbox.c.fingerprint == alerts.c.fingerprint,
            outbox.c.status == "firing",
            outbox.c.occasion_at == alerts.c.starts_at,
        )
        query = query.where(told)
    query = query.order_by(alerts.c.starts_at, alerts.c.id)
    return [_alert(row) for row in fetch(connection, query)]


def read_alerts(
    connection: Connection, target: str | None, since: float, limit: int
) -> list[Alert]:
    recent = or_(alerts.c.starts_at >= since, alerts.c.ends_at.is_(None), alerts.c.ends_at >= since)
    query = select(alerts).where(recent)
    if target is not None:
        query = query.where(alerts.c.target == target)
    query = query.order_by(alerts.c.starts_at.desc(), alerts.c.id.desc()).limit(limit)
    return [_alert(row) for row in fetch(connection, query)]


def _alert(row: Row) -> Alert:
    return Alert(
        fingerprint=row["fingerprint"],
        name=row["name"],
        severity=row["severity"],
        target=row["target"],
        summary=row["summary"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        labels=tuple(sorted(row["labels"].items())),
    )
