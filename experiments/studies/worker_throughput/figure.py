"""The figure: decode against the floors, share of the floor, prefill, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.studies.worker_throughput.peers import CONTINUOUS, OWN, STATIC, VLLM

COLOURS = {OWN: "#2a78b5", VLLM: "#d1772e", STATIC: "#7f7f7f", CONTINUOUS: "#9a6fb0"}
Rows = list[dict[str, Any]]


def draw(rows: Rows, default: str, path: Path) -> None:
    """Writes the figure of the measured rows; float32 is drawn beside the default dtype."""
    rows = [row for row in rows if "kind" in row]
    figure = Figure(figsize=(10, 7.6), layout="constrained")
    (decode, share), (prefill, end_to_end) = figure.subplots(2, 2)
    _decode(decode, [row for row in rows if row["kind"] == "decode"], default)
    own = [row for row in rows if row["engine"] == OWN and "of_memory_floor" in row]
    _share(share, own)
    _bars(prefill, [row for row in rows if row["kind"] == "prefill"], default)
    prefill.set_title("Prefill of one prompt, prompt tokens/s", loc="left")
    _bars(end_to_end, [row for row in rows if row["kind"] == "end to end"], default)
    end_to_end.set_title("End to end, output tokens/s", loc="left")
    figure.suptitle("One thread each; medians of interleaved runs, each run a tick")
    figure.legend(
        *decode.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    figure.savefig(path, dpi=120)


def _decode(axes: Axes, rows: Rows, default: str) -> None:
    for engine, dtype in dict.fromkeys((row["engine"], row["dtype"]) for row in rows):
        mine = [row for row in rows if (row["engine"], row["dtype"]) == (engine, dtype)]
        axes.plot(
            [row["amount"] for row in mine],
            [row["tokens_per_s"] for row in mine],
            "o-" if dtype == default else "o:",
            color=COLOURS[engine],
            label=f"{engine}, {dtype}",
            markersize=4,
        )
    own = [row for row in rows if row["engine"] == OWN and row["dtype"] == default]
    for field, style, name in (
        ("memory_floor_ms", "--", "memory floor"),
        ("arithmetic_floor_ms", "-.", "arithmetic floor"),
    ):
        most = [1000 * row["amount"] / row[field] for row in own]
        axes.plot([r["amount"] for r in own], most, style, color="black", lw=1, label=name)
    batches = [row["amount"] for row in own]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_xlabel("batch")
    axes.set_title("Decode, tokens/s (context about 140)", loc="left")


def _share(axes: Axes, own: Rows) -> None:
    places = range(len(own))
    for shift, field, colour, name in (
        (-0.2, "of_memory_floor", "#2a78b5", "memory floor"),
        (0.2, "of_greater_floor", "#8fbbdc", "greater of memory and arithmetic"),
    ):
        bars = axes.bar(
            [place + shift for place in places],
            [100 * row[field] for row in own],
            0.38,
            color=colour,
            label=name,
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.axhline(60, color="black", lw=1, ls="--")
    axes.set_ylim(0, 119)
    axes.set_xticks(list(places), [str(row["amount"]) for row in own])
    axes.set_xlabel("batch")
    axes.set_title("Own engine's decode, % of the machine's floor", loc="left")
    axes.legend(frameon=False, fontsize=8)


def _bars(axes: Axes, rows: Rows, default: str) -> None:
    """One group a size, one bar an engine."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    series = list(dict.fromkeys((row["engine"], row["dtype"]) for row in rows))
    height = 0.84 / len(series)
    for place, (engine, dtype) in enumerate(series):
        mine = {r["size"]: r for r in rows if (r["engine"], r["dtype"]) == (engine, dtype)}
        at = [index + (place - (len(series) - 1) / 2) * height for index in range(len(sizes))]
        bars = axes.barh(
            at,
            [mine[size]["tokens_per_s"] for size in sizes],
            height * 0.9,
            color=COLOURS[engine],
            alpha=1.0 if dtype == default else 0.45,
        )
        axes.bar_label(bars, fmt="%.0f", padding=8, fontsize=7)
        for y, size in zip(at, sizes, strict=True):
            runs = mine[size]["tokens_per_s_runs"]
            axes.plot(runs, [y] * len(runs), "|", color="black", markersize=5)
    axes.set_yticks(range(len(sizes)), [size.split(", ")[1] for size in sizes])
    axes.invert_yaxis()
    axes.margins(x=0.15)
