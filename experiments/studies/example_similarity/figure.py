"""The figure: near-duplicates found and different examples lost, by embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(content: dict[str, Any], path: Path) -> None:
    rows = content["rows"][::-1]
    figure = Figure(figsize=(8.4, 0.42 * len(rows) + 1.2), layout="constrained")
    found, lost = figure.subplots(1, 2, sharey=True)
    places = range(len(rows))
    colours = ["#2a78b5" if row is content["rows"][0] else "#9a9a9a" for row in rows]
    found.barh(places, [row["found"] for row in rows], color=colours)
    found.set_yticks(places, [row["embedding"] for row in rows])
    found.set_title("Near-duplicates found", loc="left")
    for kind, mark in zip(("questions", "numbers", "facts", "labels"), "osDv", strict=True):
        lost.plot([row["lost"][kind] for row in rows], places, mark, label=kind, alpha=0.8)
    lost.set_title("Different examples lost", loc="left")
    lost.legend(frameon=False)
    for axes in (found, lost):
        axes.set_xlim(0, 1.02)
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
