"""What may be forgotten or thinned, and what never is; in steps that hold no writer up for long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    and_,
    cast,
    delete,
    distinct,
    exists,
    func,
    insert,
    literal_column,
    select,
)

from autotuner.domain.availability import KEPT_FOR_GOOD
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

HOUR_S = 3600.0
BATCH = 2_000  # chosen: rows per transaction; some ten milliseconds on a disk
SPAN_S = 3 * 86400.0  # chosen: what is thinned of one series in one transaction
PAUSE_S = 0.01  # chosen: SQLite's waiting writers look for the lock about as often

# Times from before which rows may go (epoch s), by table; a table that is not named is kept.
Cutoffs = Mapping[str, float]


def everything(before: float) -> Cutoffs:
    """All that may be forgotten at all, from before one time."""
    return dict.fromkeys((table.name for table in _forgettable({})), before)


def prune(database: Database, cutoffs: Cutoffs, *, batch: int = BATCH) -> dict[str, int]:
    """Rows deleted by table."""
    deleted = dict.fromkeys(cutoffs, 0)
    for table, condition in _forgettable(cutoffs).items():
        if table.name not in cutoffs:
            continue
        row = _row_of(table, sqlite=database.engine.name == "sqlite")
        query = delete(table).where(row.in_(select(row).where(condition).limit(batch)))
        while gone := database.write(_count_deleted, query):
            deleted[table.name] += gone
            if gone < batch:
                break
            time.sleep(PAUSE_S)
    return deleted


def _row_of(table: Table, *, sqlite: bool) -> ColumnElement[Any]:
    """Where a row lies: found at once, where a key of several columns is searched row by row."""
    return literal_column(f"{table.name}.{'rowid' if sqlite else 'ctid'}")


def _count_deleted(connection: Connection, query: object) -> int:
    return int(connection.execute(query).rowcount)  # type: ignore[call-overload]


def prunable(connection: Connection, cutoffs: Cutoffs) -> dict[str, int]:
    """Rows that `prune` would delete, by table."""
    found = {}
    for table, condition in _forgettable(cutoffs).items():
        if table.name in cutoffs:
            query = select(func.count()).select_from(table).where(condition)
            found[table.name] = int(connection.execute(query).scalar_one())
    return found


def _forgettable(cutoffs: Cutoffs) -> dict[Table, ColumnElement[bool]]:
    # What people asked is not here: it is little, and the last pause must outlive a restart. Nor
    # is which agent was used when: it belongs to the experiments, which stay.
    def before(table: Table) -> float:
        return cutoffs.get(table.name, 0.0)

    newer = forecasts.alias("newer")
    superseded = exists().where(
        newer.c.target == forecasts.c.target,
        newer.c.series == forecasts.c.series,
        newer.c.made_at > forecasts.c.made_at,
    )
    return {
        # What was served is kept as long as the experiments: 30 days of it decide about the next.
        samples: and_(
            samples.c.bucket_at < before(samples), samples.c.series.not_in(sorted(KEPT_FOR_GOOD))
        ),
        anomalies: anomalies.c.seen_at < before(anomalies),
        forecasts: and_(forecasts.c.made_at < before(forecasts), superseded),
        # Only decisions that had nothing to apply: the others are the record of what was done.
        decisions: and_(decisions.c.decided_at < before(decisions), decisions.c.outcome.is_(None)),
        alerts: alerts.c.ends_at < before(alerts),
        outbox: outbox.c.delivered_at < before(outbox),
        silences: silences.c.ends_at < before(silences),
        model_checks: model_checks.c.checked_at < before(model_checks),
        heartbeats: heartbeats.c.beat_at < before(heartbeats),
    }


def thin(database: Database, before: float) -> int:
    """Makes series older than `before` (epoch s) hourly means; returns by how many rows they fell.

    The mean of an hour is over its rows that hold a figure; it stands at the start of the hour. An
    hour that has begun by `before` but not ended stays as it is.
    """
    until, saved = before // HOUR_S * HOUR_S, 0
    while (step := database.write(_thin_some, until)) is not None:
        saved += step
        time.sleep(PAUSE_S)
    return saved


def thinnable(connection: Connection, since: float, before: float) -> int:
    """By how many rows `thin` would make what is left of the series from `since` on shorter."""
    until = before // HOUR_S * HOUR_S
    hours = func.count(distinct(cast(samples.c.bucket_at, BigInteger) // int(HOUR_S)))
    per_series = (
        select((func.count() - hours).label("more"))
        .where(samples.c.bucket_at >= since, samples.c.bucket_at < until)
        .group_by(samples.c.target, samples.c.series)
        .subquery()
    )
    return int(
        connection.execute(select(func.coalesce(func.sum(per_series.c.more), 0))).scalar_one()
    )


def _thin_some(connection: Connection, until: float) -> int | None:
    """By how many rows the next hours of one series fell; None when all are thin."""
    loose = and_(
        samples.c.bucket_at < until, cast(samples.c.bucket_at, BigInteger) % int(HOUR_S) != 0
    )
    order = (samples.c.target, samples.c.series, samples.c.bucket_at)
    first = connection.execute(select(*order).where(loose).order_by(*order).limit(1)).first()
    if first is None:
        return None
    target, series, begins = first
    low = begins // HOUR_S * HOUR_S
    high = min(low + SPAN_S, until)
    inside = and_(
        samples.c.target == target,
        samples.c.series == series,
        samples.c.bucket_at >= low,
        samples.c.bucket_at < high,
    )
    rows = connection.execute(select(samples.c.bucket_at, samples.c.value).where(inside)).all()
    hours: dict[float, list[float]] = {}
    for at, value in rows:
        kept = hours.setdefault(at // HOUR_S * HOUR_S, [])
        if value is not None:
            kept.append(value)
    connection.execute(delete(samples).where(inside))
    connection.execute(
        insert(samples),
        [
            {
                "target": target,
                "series": series,
                "bucket_at": hour,
                "value": sum(values) / len(values) if values else None,
            }
            for hour, values in hours.items()
        ],
    )
    return len(rows) - len(hours)
