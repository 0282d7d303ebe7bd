"""1,000 series on 2 cores: total fit time, memory, and the growth with series and points.

Made-up series through the daemon's own forecaster and its pool of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotuner.forecast.series import DAY_S
from experiments.studies import _common
from experiments.studies.forecast_scale import refit
from experiments.studies.forecast_scale.figure import draw
from experiments.studies.forecast_scale.refit import ANSWERED, Job
from experiments.studies.forecast_scale.scoring import us_per_point
from experiments.studies.forecast_scale.watched import watched

SEED = 0
SERIES = 1000  # that the claims are about
PROCESSES = 2
STEP_S, WINDOW_S = 300.0, 14 * DAY_S  # the daemon's defaults
POINTS = round(WINDOW_S / STEP_S)
HORIZON_STEPS = 12
REFIT_S = 3600.0  # the daemon's default
LIMIT_S, LIMIT_MIB = 900.0, 2048.0
FINER, LONGER = "finer steps", "longer history"


@dataclass(frozen=True)
class Plan:
    """What is measured: numbers of series, of points (of `each` series), of a forecast's points."""

    series: tuple[int, ...]
    points: tuple[int, ...]
    each: int
    forecast_points: tuple[int, ...]
    scored: int


FULL = Plan(
    series=(30, 100, 300, SERIES),
    points=(500, 1000, 2000, 4000, 8000, 16000),
    each=16,
    forecast_points=(12, 120, 1200, 12_000, 120_000),
    scored=3000,
)
QUICK = Plan(series=(2, 4), points=(600, 1200), each=2, forecast_points=(12, 1200), scored=300)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Forecasts rising numbers of series; writes results.json and figure.png into `out`."""
    return measured(QUICK if quick else FULL, out)


def measured(plan: Plan, out: Path) -> dict[str, Any]:
    """As `run`, by another plan."""
    rows = [
        *(_row("series", Job(n, POINTS, STEP_S, HORIZON_STEPS, PROCESSES, SEED))
          for n in plan.series),
        *(_row(way, _job(way, points, plan.each)) for way in (FINER, LONGER)
          for points in plan.points),
        *(_scoring_row(points, plan.scored) for points in plan.forecast_points),
    ]  # fmt: skip
    content = _common.results(
        "forecast_scale",
        packages=("numpy", "pandas", "prophet", "cmdstanpy"),
        seeds=[SEED],
        rows=rows,
        checks=checks(rows),
        growth=growth(rows),
        share_of_refit_interval=whole_time_s(rows) / REFIT_S,
    )
    _common.write(out, content)
    draw(rows, {"fit_s": LIMIT_S, "memory_mib": LIMIT_MIB}, out / "figure.png")
    return content


def _job(way: str, points: int, series: int) -> Job:
    """Two weeks in finer steps, which leaves the model as it is; or more weeks of usual steps."""
    step_s = WINDOW_S / points if way == FINER else STEP_S
    return Job(series, points, step_s, HORIZON_STEPS, PROCESSES, SEED)


def _row(part: str, job: Job) -> dict[str, Any]:
    return {"part": part, **asdict(job), **watched(refit.__name__, asdict(job))}


def _scoring_row(forecast_points: int, scored: int) -> dict[str, Any]:
    us = us_per_point(forecast_points, scored, SEED)
    return {"part": "scoring", "forecast_points": forecast_points, "us_per_point": us}


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log cost over log size, by least squares; 1: in proportion."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def growth(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Exponents: of wall and CPU time with series, of a series' CPU time with its points.

    The last doubling of the points tells more than all of them of what is beyond: what a fit takes
    however short the series is weighs least there.
    """
    by = {part: [r for r in rows if r["part"] == part] for part in ("series", FINER, LONGER)}
    numbers = [row["series"] for row in by["series"]]
    found = {
        f"{unit} with series": exponent(numbers, [row[unit] for row in by["series"]])
        for unit in ("wall_s", "cpu_s")
    }
    for way in (FINER, LONGER):
        costs, points = [r["cpu_s"] / r["series"] for r in by[way]], [r["points"] for r in by[way]]
        found[f"cpu_s with points, {way}"] = exponent(points, costs)
        found[f"cpu_s with points, {way}, last two"] = exponent(points[-2:], costs[-2:])
    scoring = [row for row in rows if row["part"] == "scoring"]
    found["scoring with the forecast's points"] = exponent(
        [row["forecast_points"] for row in scoring], [row["us_per_point"] for row in scoring]
    )
    return found


def whole_time_s(rows: Sequence[dict[str, Any]]) -> float:
    """Wall seconds for `SERIES` series, the processes' start included."""
    most = _most(rows)
    return float(most["start_s"] + most["wall_s"] * SERIES / most["series"])


def _most(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max((row for row in rows if row["part"] == "series"), key=lambda row: row["series"])


def checks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims, from the row of most series; its time in proportion where they are fewer."""
    most, whole_s = _most(rows), whole_time_s(rows)
    answered = most["fits"].get(ANSWERED, 0) / most["series"]
    grows = growth(rows)
    at_most = (
        (f"{SERIES} series fitted by {PROCESSES} processes, their start included",
         whole_s, "s", LIMIT_S),
        ("most resident memory of all processes", most["peak_mib"], "MiB", LIMIT_MIB),
        ("growth of the time with the number of series, exponent",
         grows["wall_s with series"], "", 1.1),
        *((f"growth of a series' time with its points, {way}, exponent",
           grows[f"cpu_s with points, {way}"], "", 1.3) for way in (FINER, LONGER)),
    )  # fmt: skip
    return [
        *(_common.check(*claim, "at_most") for claim in at_most),
        _common.check(
            "series for which Prophet gave a forecast in time", answered, "", 0.95, "at_least"
        ),
    ]
