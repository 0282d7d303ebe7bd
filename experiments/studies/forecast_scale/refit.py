"""The process that is measured: forecasts many series once, as the daemon's refits do.

Argument: the job as JSON. It writes a line of JSON when its pool has started and one when the
forecasts are made, and ends when its stdin does. Knows nothing of how it is watched.
"""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.forecast.backtest import Tried
from autotuner.forecast.fit_job import FitRequest
from autotuner.forecast.fits import FitMany, Fitted
from autotuner.forecast.pool import FitPool
from autotuner.forecast.service import Forecaster, ForecastSettings
from experiments.studies.forecast_scale.made import KINDS, NOW, past

ANSWERED = "prophet answered"


@dataclass(frozen=True)
class Job:
    """`series` of `points` steps each, forecast `horizon_steps` ahead by so many processes."""

    series: int
    points: int
    step_s: float
    horizon_steps: int
    processes: int
    seed: int


class Counted:
    """Passes fits on and remembers how each ended. For many threads."""

    def __init__(self, fit_many: FitMany) -> None:
        self._fit_many = fit_many
        self._ended: list[str] = []

    def __call__(self, requests: Sequence[FitRequest]) -> Sequence[Fitted]:
        found = self._fit_many(requests)
        self._ended.extend(
            ANSWERED if isinstance(one, Tried) else type(one).__name__ for one in found
        )
        return found

    @property
    def ended(self) -> dict[str, int]:
        return dict(Counter(self._ended))


def forecast_all(forecaster: Forecaster, job: Job) -> list[Forecast]:
    """All series by target, four each, `job.processes` targets at once: the daemon's slow jobs."""
    first = range(0, job.series, len(KINDS))
    targets = [range(i, min(i + len(KINDS), job.series)) for i in first]

    def refit(numbers: range) -> Sequence[Forecast]:
        pasts = [past(n, job.points, job.step_s, job.seed) for n in numbers]
        return forecaster.forecast_many(pasts, job.horizon_steps * job.step_s, NOW)

    with ThreadPoolExecutor(job.processes) as slow:
        return [forecast for made in slow.map(refit, targets) for forecast in made]


def kept_bytes(forecasts: Sequence[Forecast]) -> int:
    """What the interpreter allocates to hold these forecasts, all of their numbers included."""
    text = json.dumps([asdict(forecast) for forecast in forecasts])
    tracemalloc.start()
    kept = [_read(row) for row in json.loads(text)]
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept) == len(forecasts)
    return held


def _read(row: dict[str, Any]) -> Forecast:
    points = tuple(
        ForecastPoint(float(p["at"]), float(p["value"]), float(p["low"]), float(p["high"]))
        for p in row["points"]
    )
    return Forecast(row["series"], float(row["made_at"]), row["model"], points, row["note"])


def _started(pool: FitPool, settings: ForecastSettings, processes: int) -> float:
    """Seconds until every process of the pool has answered; raises where Prophet can't be used."""
    began = time.monotonic()
    prober = Forecaster(settings, fit_many=pool.fit_many)
    with ThreadPoolExecutor(processes) as threads:
        for problem in threads.map(lambda _: prober.probe(), range(processes)):
            if problem is not None:
                raise RuntimeError(f"forecast_scale: {problem}")
    return time.monotonic() - began


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    settings = ForecastSettings(step_s=job.step_s, window_s=job.points * job.step_s)
    pool = FitPool(job.processes)
    try:
        start_s = _started(pool, settings, job.processes)
        print(json.dumps({"start_s": start_s}), flush=True)
        counted, began = Counted(pool.fit_many), time.monotonic()
        forecasts = forecast_all(Forecaster(settings, fit_many=counted), job)
        wall_s = time.monotonic() - began
        found = {
            "wall_s": wall_s,
            "fits": counted.ended,
            "models": dict(Counter(forecast.model for forecast in forecasts)),
            "forecast_points": sum(len(forecast.points) for forecast in forecasts),
            "kept_bytes": kept_bytes(forecasts),
        }
        print(json.dumps(found), flush=True)
        sys.stdin.read()
    finally:
        pool.close()


if __name__ == "__main__":
    main()
