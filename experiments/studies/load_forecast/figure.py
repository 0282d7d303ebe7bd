"""The figure: errors against the naive forecasts', coverage, and a stretch of forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autotuner.forecast.bands import Kind
from autotuner.forecast.series import Series
from autotuner.forecast.service import Forecaster, ForecastSettings
from experiments.studies.load_forecast.rolling import CHOSEN, LAST_VALUE, SEASONAL_NAIVE, KeptFits
from experiments.studies.load_forecast.traces import DAY_STEPS, STEP_S, before

COLOURS = {
    SEASONAL_NAIVE: "#b8b8b8",
    LAST_VALUE: "#8a8a8a",
    "prophet alone": "#d1772e",
    CHOSEN: "#2a78b5",
}
_EXAMPLE_DAYS = (9, 10, 11)


def draw(rows: Sequence[dict[str, Any]], example: Series, path: Path) -> None:
    figure = Figure(figsize=(10, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(3, 1.4))
    _errors(figure.add_subplot(grid[0, 0]), rows)
    _coverage(figure.add_subplot(grid[0, 1]), rows)
    _stretch(figure.add_subplot(grid[1, :]), example)
    figure.savefig(path, dpi=120)


def _names(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{row['series']}\n{row['hours_ahead']} h" for row in rows]


def _errors(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    places, width = np.arange(len(rows)), 0.2
    for i, (method, colour) in enumerate(COLOURS.items()):
        heights = [row["mase"][method] for row in rows]
        shift = (i - (len(COLOURS) - 1) / 2) * width
        bars = axis.bar(places + shift, heights, width * 0.92, color=colour, label=method)
        axis.bar_label(bars, fmt="%.2f", fontsize=7)
    axis.set_xticks(places, _names(rows), fontsize=8)
    axis.set_title("MASE (less is better)", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8, ncols=2)
    axis.spines[["top", "right"]].set_visible(False)


def _coverage(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    places = np.arange(len(rows))
    for share, colour in (("0.9", "#2a78b5"), ("0.99", "#3a8f5c")):
        held = [100 * row["coverage"][share] for row in rows]
        axis.axhspan(100 * float(share) - 5, 100 * float(share) + 5, color=colour, alpha=0.08)
        axis.axhline(100 * float(share), color=colour, lw=0.8, ls="--")
        axis.plot(places, held, "o", color=colour, label=f"{float(share):.0%} interval")
    axis.set_ylim(80, 101)
    axis.set_xticks(places, _names(rows), fontsize=7)
    axis.set_title("Values inside, %", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="lower left")
    axis.spines[["top", "right"]].set_visible(False)


def _stretch(axis: Axes, series: Series) -> None:
    """Six-hour forecasts one after the other, each made when the one before ended."""
    start, stop = _EXAMPLE_DAYS[0] * DAY_STEPS, (_EXAMPLE_DAYS[-1] + 1) * DAY_STEPS
    hours = (series.times - series.times[start]) / 3600.0
    axis.plot(hours[start:stop], series.values[start:stop], color="k", lw=0.9, label="real")
    forecaster = Forecaster(ForecastSettings(step_s=STEP_S, coverage=0.9), KeptFits().fit)
    for end in range(start, stop, 36):
        seen, now = before(series, end), float(series.times[end])
        points = forecaster.forecast(
            "rate", seen.times, seen.values, 35 * STEP_S, now, Kind.RATE
        ).points
        at, values = hours[end : end + len(points)], [p.value for p in points]
        low, high = [p.low for p in points], [p.high for p in points]
        labels = ("forecast", "90% interval") if end == start else (None, None)
        axis.plot(at, values, color="#2a78b5", label=labels[0])
        axis.fill_between(at, low, high, color="#2a78b5", alpha=0.18, lw=0, label=labels[1])
    axis.set_xlabel("hours")
    axis.set_title("Requests/s of m-small, forecast every six hours", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8, ncols=3)
    axis.spines[["top", "right"]].set_visible(False)
