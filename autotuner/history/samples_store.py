"""Series, their forecasts and their anomaly scores as rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from autotuner.domain.forecasts import AnomalyScore, Forecast, ForecastPoint
from autotuner.history.columns import nan_if_null
from autotuner.history.records import Sample
from autotuner.history.sql import Row, fetch, fetch_first, upsert
from autotuner.history.tables import anomalies, forecasts, samples


def write_samples(
    connection: Connection, target: str, rows: Iterable[tuple[str, float, float]]
) -> None:
    # The last value of a bucket counts, as it would over several calls.
    latest = {(series, at): value for series, at, value in rows}
    upsert(
        connection,
        samples,
        [
            {"target": target, "series": series, "bucket_at": at, "value": value}
            for (series, at), value in sorted(latest.items())
        ],
    )


def read_samples(
    connection: Connection, target: str, series: str, since: float, until: float | None
) -> list[Sample]:
    query = (
        select(samples.c.bucket_at, samples.c.value)
        .where(samples.c.target == target, samples.c.series == series, samples.c.bucket_at >= since)
        .order_by(samples.c.bucket_at)
    )
    if until is not None:
        query = query.where(samples.c.bucket_at < until)
    return [Sample(at, nan_if_null(value)) for at, value in connection.execute(query)]


def read_series(connection: Connection, target: str) -> list[str]:
    query = select(samples.c.series).where(samples.c.target == target).distinct()
    return sorted(connection.execute(query).scalars())


def write_forecast(connection: Connection, target: str, forecast: Forecast) -> None:
    connection.execute(
        forecasts.insert().values(
            target=target,
            series=forecast.series,
            made_at=forecast.made_at,
            model=forecast.model,
            note=forecast.note,
            points=[[p.at, p.value, p.low, p.high] for p in forecast.points],
        )
    )


def read_latest_forecast(connection: Connection, target: str, series: str) -> Forecast | None:
    query = (
        select(forecasts)
        .where(forecasts.c.target == target, forecasts.c.series == series)
        .order_by(forecasts.c.made_at.desc(), forecasts.c.id.desc())
        .limit(1)
    )
    row = fetch_first(connection, query)
    return None if row is None else _forecast(row)


def _forecast(row: Row) -> Forecast:
    return Forecast(
        series=row["series"],
        made_at=row["made_at"],
        model=row["model"],
        points=tuple(ForecastPoint(*(float(figure) for figure in p)) for p in row["points"]),
        note=row["note"],
    )


def write_anomalies(connection: Connection, target: str, scores: Iterable[AnomalyScore]) -> None:
    upsert(connection, anomalies, [_anomaly_row(target, score) for score in scores])


def _anomaly_row(target: str, score: AnomalyScore) -> dict[str, Any]:
    return {
        "target": target,
        "series": score.series,
        "seen_at": score.at,
        "value": score.value,
        "expected": score.expected,
        "score": score.score,
        "anomalous": score.anomalous,
        "suppressed": score.suppressed,
    }


def read_anomalies(
    connection: Connection, target: str, since: float, limit: int
) -> list[AnomalyScore]:
    query = (
        select(anomalies)
        .where(anomalies.c.target == target, anomalies.c.seen_at >= since)
        .order_by(anomalies.c.seen_at.desc(), anomalies.c.series)
        .limit(limit)
    )
    return [_anomaly(row) for row in fetch(connection, query)]


def _anomaly(row: Row) -> AnomalyScore:
    return AnomalyScore(
        series=row["series"],
        at=row["seen_at"],
        value=nan_if_null(row["value"]),
        expected=nan_if_null(row["expected"]),
        score=nan_if_null(row["score"]),
        anomalous=row["anomalous"],
        suppressed=row["suppressed"],
    )
