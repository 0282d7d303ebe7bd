"""The figure: per workload the sweep with start, best and found, and predicted against measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = Mapping[str, Any]
SEQS = {4: "#7bbf9a", 16: "#2a78b5", 64: "#8a63b0"}


def draw(rows: Sequence[Row], path: Path) -> None:
    names = list(dict.fromkeys(row["workload"] for row in rows))
    figure = Figure(figsize=(12, 3.9 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 3, squeeze=False)
    for line, name in enumerate(names):
        mine = [row for row in rows if row["workload"] == name]
        sweep = [row for row in mine if row["part"] == "sweep"]
        load = next(row for row in mine if row["part"] == "load")
        _sweep(axes[line][0], sweep, mine)
        title = f"{name}, {load['rate_rps']:.2f} requests/s"
        axes[line][0].set_title(title, loc="left", fontsize=10)
        _against(axes[line][1], sweep)
        _finals(axes[line][2], [row for row in mine if row["part"] == "final"])
    figure.savefig(path, dpi=110)


def _sweep(axis: Axes, sweep: Sequence[Row], rows: Sequence[Row]) -> None:
    for seqs, colour in SEQS.items():
        line = sorted(
            (r["max_num_batched_tokens"], r["goodput_rps"])
            for r in sweep
            if r["max_num_seqs"] == seqs
        )
        if line:
            axis.plot(*zip(*line, strict=True), "o-", color=colour, ms=4, label=f"{seqs} sequences")
    marks = {"start": ("v", "#888888"), "best": ("*", "#d1a000"), "found": ("P", "#c8102e")}
    for which, (mark, colour) in marks.items():
        found = [r for r in rows if r["part"] == "final" and r["which"] == which]
        if found:
            mean = sum(r["goodput_rps"] for r in found) / len(found)
            x = found[0]["max_num_batched_tokens"]
            label = f"{which}, measured anew"
            axis.plot([x], [mean], mark, color=colour, ms=12, label=label, ls="", zorder=3)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("max_num_batched_tokens")
    axis.set_ylabel("goodput, requests/s")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def _against(axis: Axes, sweep: Sequence[Row]) -> None:
    told = [r["predicted_attainment"] for r in sweep]
    axis.plot([0, 1], [0, 1], color="#bbbbbb", lw=1)
    axis.plot(told, [r["attainment"] for r in sweep], "o", color="#2a78b5", ms=5)
    axis.set_xlabel("predicted attainment")
    axis.set_ylabel("measured attainment")
    axis.set_title("Simulator against worker", loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def _finals(axis: Axes, finals: Sequence[Row]) -> None:
    names = [n for n in ("start", "best", "found") if any(r["which"] == n for r in finals)]
    values = []
    for name in names:
        spread = [r["e2el_sd_s"] for r in finals if r["which"] == name and r["e2el_sd_s"]]
        values.append(sum(spread) / len(spread) if spread else 0.0)
    axis.barh(names, values, color=["#888888", "#d1a000", "#c8102e"][: len(names)])
    for place, value in enumerate(values):
        axis.text(value, place, f" {value:.2f} s", va="center", fontsize=9)
    axis.invert_yaxis()
    axis.set_title("Standard deviation of E2EL", loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
