"""The figure: what is added at each load, and the core's use against the chunks offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.studies.proxy_overhead.latency import QUANTILES


def draw(rows: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    added, carried = figure.subplots(1, 2)
    _added(added, [row for row in rows if row["part"] == "latency"])
    _carried(carried, [row for row in rows if row["part"] == "chunks"])
    return figure


def _added(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    places = np.arange(len(QUANTILES))
    bars = [(row, name) for row in rows for name in ("first", "whole")]
    width = 0.8 / max(len(bars), 1)
    for number, (row, name) in enumerate(bars):
        what = "first token" if name == "first" else "whole request"
        heights = [row[f"{name}_added_ms_p{q}"] for q in QUANTILES]
        axes.bar(places + number * width, heights, width, label=f"{what}, {row['load']}")
    axes.axhline(1.0, color="0.5", linestyle="--")
    axes.set_xticks(places + 0.4 - width / 2, [f"P{q}" for q in QUANTILES])
    axes.set(ylabel="added, ms", title="Paired with the direct request")
    axes.legend(frameon=False, fontsize=8)


def _carried(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    offered = [row["offered_per_s"] for row in rows]
    axes.plot(offered, [row["delivered_per_s"] for row in rows], marker="o", label="delivered")
    axes.plot(offered, offered, color="0.7", linestyle=":", label="offered")
    axes.set(xlabel="chunks/s offered", ylabel="chunks/s", title="One core")
    used = axes.twinx()
    used.plot(offered, [row["core_used"] for row in rows], color="C1", marker="s")
    used.set(ylabel="share of the core used", ylim=(0, 1.05))
    used.yaxis.label.set_color("C1")
    axes.legend(frameon=False, loc="upper left")
