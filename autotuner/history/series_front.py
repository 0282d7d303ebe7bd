"""The front's part for series, their forecasts and anomalies; knows no SQL."""

from __future__ import annotations

from collections.abc import Iterable

from autotuner.domain.forecasts import AnomalyScore, Forecast
from autotuner.history import samples_store
from autotuner.history.front import Front
from autotuner.history.records import Sample


class SeriesFront(Front):
    """What was measured over time, what was expected, and what was odd."""

    def append_samples(self, target: str, samples: Iterable[tuple[str, float, float]]) -> None:
        """Rows of (series, start of the bucket, value); the same bucket again overwrites it."""
        self._db.write(samples_store.write_samples, target, samples)

    def samples(
        self, target: str, series: str, *, since: float, until: float | None = None
    ) -> list[Sample]:
        """The buckets in [since, until), oldest first."""
        return self._db.read(samples_store.read_samples, target, series, since, until)

    def series(self, target: str) -> list[str]:
        """The names of all series of `target`."""
        return self._db.read(samples_store.read_series, target)

    def record_forecast(self, target: str, forecast: Forecast) -> None:
        self._db.write(samples_store.write_forecast, target, forecast)

    def latest_forecast(self, target: str, series: str) -> Forecast | None:
        return self._db.read(samples_store.read_latest_forecast, target, series)

    def record_anomalies(self, target: str, scores: Iterable[AnomalyScore]) -> None:
        self._db.write(samples_store.write_anomalies, target, scores)

    def anomalies(self, target: str, *, since: float, limit: int = 200) -> list[AnomalyScore]:
        """Newest first."""
        return self._db.read(samples_store.read_anomalies, target, since, limit)
