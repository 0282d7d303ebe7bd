"""The figure: regret by number of experiments, and what the experiments cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {
    "ppo": "#c8102e",
    "ppo-tpe": "#e58b9a",
    "screened-random": "#8a63b0",
    "random": "#888888",
    "grid": "#b8860b",
    "hill-climb": "#3a8f5c",
    "aimd": "#7bbf9a",
    "tpe": "#2a78b5",
    "gp": "#17becf",
}
FLOOR = 1e-3  # of the logarithmic axis; a regret of 0 lies on it


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    axes = figure.subplots(2, 3)
    for column, kind in enumerate(("ordinary", "hard")):
        of_kind = [row for row in rows if row["systems"] == kind]
        for line, (what, words) in enumerate(
            (("tried", "best settings tried"), ("incumbent", "settings in force"))
        ):
            _regret(axes[line][column], of_kind, what)
            title = f"{kind} systems: regret of the {words}"
            axes[line][column].set_title(title, loc="left", fontsize=10)
    every = [row for row in rows if row["systems"] == "all"]
    _bars(axes[0][2], every, "harmful", "Harmful experiments in a run")
    _bars(axes[1][2], every, "forgone", "Goodput forgone in 1,200 slots, points × slots")
    axes[0][0].legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path, dpi=110)


def _regret(axis: Axes, rows: Sequence[Mapping[str, Any]], what: str) -> None:
    for row in rows:
        colour = COLOURS[row["method"]]
        median = [max(value, FLOOR) for value in row[f"{what}_median"]]
        x = range(len(median))
        own = row["method"] == "ppo"
        axis.plot(x, median, color=colour, lw=2.6 if own else 1.3, label=row["method"])
        if own:
            low = [max(value, FLOOR) for value in row[f"{what}_q1"]]
            high = [max(value, FLOOR) for value in row[f"{what}_q3"]]
            axis.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
    axis.set_yscale("log")
    axis.set_xlabel("experiments")
    axis.set_ylabel("median regret, attainment points")
    axis.spines[["top", "right"]].set_visible(False)


def _bars(axis: Axes, rows: Sequence[Mapping[str, Any]], what: str, title: str) -> None:
    names = [row["method"] for row in rows]
    values = [row[what] for row in rows]
    axis.barh(names, values, color=[COLOURS[name] for name in names])
    for place, value in enumerate(values):
        axis.text(value, place, f" {value:.3g}", va="center", fontsize=8)
    axis.invert_yaxis()
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
