"""The figure: what each arm loses against the oracle, and how long it takes after each change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLOURS = {
    "ppo": "#2a78b5",
    "ppo, blind to drift": "#8fbbdc",
    "aimd": "#d1772e",
    "hill-climb": "#4b9b4b",
    "old best": "0.55",
    "compromise": "0.75",
}
_LEAST_MIN = 60.0  # shorter phases are not drawn


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    names = list(dict.fromkeys(row["scenario"] for row in rows))
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    lost, late = figure.subplots(2, 1)
    _lost(lost, rows, names)
    _late(late, rows)
    for axis in (lost, late):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _lost(axis: Axes, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    width = 0.8 / len(_COLOURS)
    for place, (arm, colour) in enumerate(_COLOURS.items()):
        mine = {row["scenario"]: 100 * row["lost"] for row in rows if row["arm"] == arm}
        at = [i + (place - (len(_COLOURS) - 1) / 2) * width for i in range(len(names))]
        axis.bar(at, [mine.get(name, 0.0) for name in names], width, color=colour, label=arm)
    axis.set_xticks(range(len(names)), names)
    axis.set_ylabel("% of requests")
    axis.set_title("Missed, though the oracle met them", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _late(axis: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Every run is a dot; a cross at the phase's end where it never came to it."""
    changes = list(
        dict.fromkeys(
            (row["scenario"], number, phase["load"])
            for row in rows
            for number, phase in enumerate(row["phases"])
            if phase["shaken"] and phase["minutes"] >= _LEAST_MIN
        )
    )
    width = 0.8 / len(_COLOURS)
    for row in rows:
        for number, phase in enumerate(row["phases"]):
            change = (row["scenario"], number, phase["load"])
            if change not in changes or row["arm"] not in _COLOURS:
                continue
            place = list(_COLOURS).index(row["arm"])
            at = changes.index(change) + (place - (len(_COLOURS) - 1) / 2) * width
            for taken in phase["recovery_min"]:
                end = phase["minutes"] if taken is None else taken
                mark = "x" if taken is None else "o"
                axis.plot([at], [end], mark, color=_COLOURS[row["arm"]], alpha=0.7)
    axis.set_xticks(range(len(changes)), [f"{name}: to {load}" for name, _, load in changes])
    axis.set_ylim(bottom=0)
    axis.set_ylabel("minutes")
    title = "Until settings with 95% of the best goodput stay in force (x: not in the phase)"
    axis.set_title(title, loc="left", fontsize=10)
