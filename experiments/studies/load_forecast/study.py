"""Do forecasts of real request rates beat the naive ones, and do their intervals hold?

Rolling origin over three production traces of two weeks, one and six hours ahead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autotuner.forecast.series import Series
from experiments.studies import _common
from experiments.studies.load_forecast.figure import draw
from experiments.studies.load_forecast.rolling import (
    CHOSEN,
    COVERAGES,
    LAST_VALUE,
    SEASONAL_NAIVE,
    Outcome,
    outcomes,
)
from experiments.studies.load_forecast.traces import DAY_STEPS, series_by_name

HORIZONS = {1: 6, 6: 36}  # hours ahead, steps
EVERY_STEPS = 12  # an origin every two hours
QUICK_EVERY_STEPS = 2 * DAY_STEPS + 29
COVERAGE_POINTS = 5.0


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Forecasts at every origin, writes results.json and figure.png into `out`."""
    by_name, source = series_by_name()
    every = QUICK_EVERY_STEPS if quick else EVERY_STEPS
    rows = [
        _row(name, hours, list(outcomes(series, steps, every)))
        for name, series in by_name.items()
        for hours, steps in HORIZONS.items()
    ]
    results = _common.results(
        "load_forecast",
        packages=("numpy", "pandas", "prophet", "cmdstanpy"),
        seeds=[],
        rows=rows,
        checks=[check for row in rows for check in _checks(row)],
        source=source,
        quick=quick,
    )
    _common.write(out, results)
    draw(rows, _example(by_name), out / "figure.png")
    return results


def _row(name: str, hours: int, found: Sequence[Outcome]) -> dict[str, Any]:
    mase = {
        method: float(np.mean([one.errors[method].mean() / one.scale for one in found]))
        for method in found[0].errors
    }
    return {
        "series": name,
        "hours_ahead": hours,
        "origins": len(found),
        "mase": mase,
        "coverage": {
            f"{share:g}": float(np.mean([one.held[share].mean() for one in found]))
            for share in COVERAGES
        },
        "width_to_scale": float(np.mean([one.width / one.scale for one in found])),
        "chosen": dict(Counter(one.model for one in found)),
    }


def _checks(row: dict[str, Any]) -> list[dict[str, Any]]:
    where, mase = f"{row['series']}, {row['hours_ahead']} h ahead", row["mase"]
    against = [
        _common.check(
            f"{where}: MASE against the {naive}'s",
            mase[CHOSEN] / mase[naive],
            "times",
            1,
            "at_most",
        )
        for naive in (SEASONAL_NAIVE, LAST_VALUE)
    ]
    held = [
        _common.check(
            f"{where}: coverage of the {float(share):.0%} interval, distance from nominal",
            100 * abs(coverage - float(share)),
            "points",
            COVERAGE_POINTS,
            "at_most",
        )
        for share, coverage in row["coverage"].items()
    ]
    return [*against, *held]


def _example(by_name: dict[str, Series]) -> Series:
    return next(iter(by_name.values()))
