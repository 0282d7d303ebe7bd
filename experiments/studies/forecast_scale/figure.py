"""The figure: time and memory against the number of series, and time against points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_WAYS = {"finer steps": "#2a78b5", "longer history": "#d1772e"}


def draw(rows: Sequence[dict[str, Any]], limits: dict[str, float], path: Path) -> None:
    """`limits`: the targets of `fit_s` and `memory_mib`."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    (time_axis, memory), (points, scoring) = figure.subplots(2, 2)
    by_series = [row for row in rows if row["part"] == "series"]
    _times(time_axis, by_series, limits["fit_s"])
    _memory(memory, by_series, limits["memory_mib"])
    _points(points, rows)
    _scoring(scoring, [row for row in rows if row["part"] == "scoring"])
    for axis in (time_axis, memory, points, scoring):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _times(axis: Axes, rows: Sequence[dict[str, Any]], limit_s: float) -> None:
    numbers = [row["series"] for row in rows]
    axis.loglog(numbers, [row["wall_s"] for row in rows], "o-", color="#2a78b5", label="wall")
    axis.loglog(numbers, [row["cpu_s"] for row in rows], "o-", color="#d1772e", label="CPU")
    axis.axhline(limit_s, color="0.5", ls="--", label=f"limit for 1,000: {limit_s:.0f} s")
    axis.set(xlabel="series", ylabel="s")
    _sizes(axis, numbers)
    axis.set_title("Time to forecast all series once", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8)


def _memory(axis: Axes, rows: Sequence[dict[str, Any]], limit_mib: float) -> None:
    numbers = [row["series"] for row in rows]
    axis.semilogx(numbers, [row["peak_mib"] for row in rows], "o-", color="k", label="together")
    axis.semilogx(
        numbers, [row["workers_mib"] for row in rows], "o-", color="#d1772e", label="workers"
    )
    axis.semilogx(
        numbers, [row["parent_mib"] for row in rows], "o-", color="#2a78b5", label="parent"
    )
    axis.axhline(limit_mib, color="0.5", ls="--", label=f"limit: {limit_mib:.0f} MiB")
    axis.set_ylim(bottom=0)
    axis.set(xlabel="series", ylabel="MiB")
    _sizes(axis, numbers)
    axis.set_title("Most resident memory", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8)


def _points(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for way, colour in _WAYS.items():
        mine = [row for row in rows if row["part"] == way]
        seconds = [row["cpu_s"] / row["series"] for row in mine]
        axis.loglog([row["points"] for row in mine], seconds, "o-", color=colour, label=way)
    axis.set(xlabel="points of a series", ylabel="CPU s per series")
    _sizes(axis, sorted({row["points"] for row in rows if row["part"] in _WAYS}))
    axis.set_title("Time for one series", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8)


def _scoring(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    points = [row["forecast_points"] for row in rows]
    axis.semilogx(points, [row["us_per_point"] for row in rows], "o-", color="#3a8f5c")
    axis.set_ylim(0, 1.3 * max(row["us_per_point"] for row in rows))
    axis.set(xlabel="points of the kept forecast", ylabel="CPU µs")
    axis.set_title("Scoring one new point", loc="left", fontsize=10)


def _sizes(axis: Axes, sizes: Sequence[int]) -> None:
    """The sizes that were measured as plain numbers, and no other ticks."""
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.set_xticks([], minor=True)
