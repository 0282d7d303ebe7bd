"""The figure: utilisation at saturation and at equal load, throughput, tail latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

READINGS = {
    "busy_share": ("busy", "#c9c9c9"),
    "slots_share": ("places in use", "#8fbbdc"),
    "useful_share": ("useful", "#2a78b5"),
}
LATENCIES = {"ttft_p99_s": ("P99 TTFT", "#8fbbdc"), "e2el_p99_s": ("P99 E2EL", "#2a78b5")}
Rows = list[dict[str, Any]]


def draw(content: dict[str, Any], path: Path) -> None:
    figure = Figure(figsize=(10.5, 7), layout="constrained")
    (saturated, loaded), (throughput, latency) = figure.subplots(2, 2, sharey=True)
    rows = content["rows"]
    at_saturation = [row for row in rows if row["regime"] == "saturation"]
    at_load = [row for row in rows if row["regime"] == "equal load"]
    _groups(saturated, at_saturation, READINGS, scale=100, form="%.0f")
    saturated.set_title("Utilisation at saturation, %", loc="left")
    _groups(loaded, at_load, READINGS, scale=100, form="%.0f")
    loaded.set_title(f"Utilisation at {content['offered_rps']:.2g} requests/s, %", loc="left")
    _groups(throughput, at_saturation, {"requests_per_s": ("", "#2a78b5")}, scale=1, form="%.1f")
    throughput.set_title("Throughput at saturation, requests/s", loc="left")
    _groups(latency, at_load, LATENCIES, scale=1, form="%.2f")
    latency.set_title(f"Latency at {content['offered_rps']:.2g} requests/s, s", loc="left")
    readings, latencies = (axes.get_legend_handles_labels() for axes in (saturated, latency))
    figure.legend(*readings, loc="outside upper center", ncols=3, frameon=False)
    figure.legend(*latencies, loc="outside lower center", ncols=2, frameon=False)
    saturated.invert_yaxis()  # shared by all four
    figure.savefig(path, dpi=120)


def _groups(
    axes: Axes, rows: Rows, series: dict[str, tuple[str, str]], *, scale: float, form: str
) -> None:
    """One group of bars a system, one bar a field."""
    height = 0.8 / len(series)
    for place, (field, (label, colour)) in enumerate(series.items()):
        at = [index + (place - (len(series) - 1) / 2) * height for index in range(len(rows))]
        values = [scale * row[field] for row in rows]
        bars = axes.barh(at, values, height * 0.92, color=colour, label=label)
        axes.bar_label(bars, fmt=form, padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), [row["system"] for row in rows])
    axes.margins(x=0.14)
