"""What may be forgotten, and what never is."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, and_, delete, exists

from autotuner.history.alert_tables import alerts, outbox, silences
from autotuner.history.engine import Database
from autotuner.history.tables import (
    anomalies,
    decisions,
    forecasts,
    heartbeats,
    model_checks,
    samples,
)


def prune(database: Database, older_than: float) -> dict[str, int]:
    """Delete rows from before `older_than`; returns how many by table.

    One transaction per table, so that a large one holds up the daemon's writes only for itself.
    """
    deleted = {}
    for table, condition in _forgettable(older_than).items():
        with database.writing() as connection:
            deleted[table.name] = connection.execute(delete(table).where(condition)).rowcount
    return deleted


def _forgettable(before: float) -> dict[Table, ColumnElement[bool]]:
    # What people asked is not here: it is little, and the last pause must outlive a restart. Nor
    # is which agent was used when: it belongs to the experiments, which stay.
    newer = forecasts.alias("newer")
    superseded = exists().where(
        newer.c.target == forecasts.c.target,
        newer.c.series == forecasts.c.series,
        newer.c.made_at > forecasts.c.made_at,
    )
    return {
        samples: samples.c.bucket_at < before,
        anomalies: anomalies.c.seen_at < before,
        forecasts: and_(forecasts.c.made_at < before, superseded),
        # Only decisions that had nothing to apply: the others are the record of what was done.
        decisions: and_(decisions.c.decided_at < before, decisions.c.outcome.is_(None)),
        alerts: alerts.c.ends_at < before,
        outbox: outbox.c.delivered_at < before,
        silences: silences.c.ends_at < before,
        model_checks: model_checks.c.checked_at < before,
        heartbeats: heartbeats.c.beat_at < before,
    }
