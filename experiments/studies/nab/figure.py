"""The figure: the score of each rule, and what each series cost in false episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"both votes": "#2a78b5", "value's vote alone": "#8a63b0"}
HIT, MISSED = "#3a8f5c", "#d1772e"


def draw(
    summaries: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], target: float, path: Path
) -> None:
    """`rows`: the shipped rule's, one a series."""
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    scores, series = figure.subplots(1, 2, width_ratios=(2, 3))
    _scores(scores, [s for s in summaries if s["rule"] in COLOURS], target)
    _series(series, rows)
    figure.savefig(path, dpi=120)


def _scores(axis: Axes, summaries: Sequence[dict[str, Any]], target: float) -> None:
    scopes = list(dict.fromkeys(summary["scope"] for summary in summaries))
    for shift, (rule, colour) in zip((-0.2, 0.2), COLOURS.items(), strict=True):
        values = [s["score"] for s in summaries if s["rule"] == rule]
        bars = axis.bar(np.arange(len(scopes)) + shift, values, 0.38, color=colour, label=rule)
        axis.bar_label(bars, fmt="%.0f", fontsize=9)
    axis.axhline(target, color="k", ls="--", lw=1, label="target")
    axis.set_xticks(range(len(scopes)), [scope.replace(" ", "\n") for scope in scopes], fontsize=8)
    axis.set_title("Standard score (100 is perfect)", loc="left", fontsize=10)
    axis.margins(y=0.25)  # room for the legend
    axis.legend(frameon=False, fontsize=8, loc="upper right")
    axis.spines[["top", "right"]].set_visible(False)


def _series(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    ordered = sorted(rows, key=lambda row: (row["folder"], row["series"]), reverse=True)
    places = range(len(ordered))
    axis.barh(places, [row["false_per_day"] for row in ordered], color="#b8b8b8")
    for place, row in zip(places, ordered, strict=True):
        colour = HIT if row["hits"] == row["windows"] else MISSED
        text = f"{row['hits']}/{row['windows']}"
        axis.annotate(
            text,
            (row["false_per_day"], place),
            (4, -3),
            color=colour,
            fontsize=8,
            textcoords="offset points",
        )
    axis.set_yticks(places, [row["series"][:34] for row in ordered], fontsize=7)
    axis.set_title("False episodes a day; windows hit", loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
