"""The figure: what is sent, how long an update takes, what is lost; a panel each."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.studies.gradient_compression.runs import KINDS

COLOURS = {2: "#2a78b5", 4: "#d1772e"}
PANELS = {
    "sent_kb_per_node_and_update": "Sent by a node, kB per update",
    "step_s": "An update, s (fastest round)",
    "held_out_loss": "Held-out loss, nats per token",
}
Rows = Sequence[dict[str, Any]]


def draw(rows: Rows) -> Figure:
    """Bars of means over seeds, each run a tick; nodes of one process and a limited network."""
    mine = [row for row in rows if row["per_node"] == 1 and row["mbit_per_s"] and row["nodes"] > 1]
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in mine)]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (field, title) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        _bars(axes, mine, kinds, field)
        axes.set_title(title, loc="left", fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _bars(axes: Axes, rows: Rows, kinds: Sequence[str], field: str) -> None:
    nodes = sorted({row["nodes"] for row in rows})
    height = 0.8 / len(nodes)
    for index, number in enumerate(nodes):
        for place, kind in enumerate(kinds):
            values = [r[field] for r in rows if (r["kind"], r["nodes"]) == (kind, number)]
            if not values:
                continue
            y = place + (index - (len(nodes) - 1) / 2) * height
            label = f"{number} nodes" if place == 0 else None
            axes.barh(y, fmean(values), height, color=COLOURS.get(number, "0.5"), label=label)
            axes.plot(values, [y] * len(values), "|", color="black", markersize=7)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
