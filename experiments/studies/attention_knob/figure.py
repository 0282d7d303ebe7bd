"""The figure: step time and bytes read by context, quality by mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLOURS = {"full": "#4d4d4d", "sliding_window": "#2a78b5", "top_k": "#d1772e"}


def draw(content: dict[str, Any], path: Path) -> None:
    rows, quality = content["rows"], content["quality"]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    time, read, agreement = figure.subplots(1, 3)
    for mode, colour in COLOURS.items():
        mine = [row for row in rows if row["attention"] == mode]
        contexts = [row["context"] for row in mine]
        time.plot(contexts, [row["step_ms"] for row in mine], "o-", color=colour, label=mode)
        low, high = zip(
            *((r["step_ms_quartiles"][0], r["step_ms_quartiles"][2]) for r in mine), strict=True
        )
        time.fill_between(contexts, low, high, color=colour, alpha=0.2, lw=0)
        read.plot(contexts, [row["kv_read_mb"] for row in mine], "o-", color=colour, label=mode)
    time.set_ylim(bottom=0)
    time.set_title(f"Decode step, ms (batch {content['batch']})", loc="left")
    time.legend(frameon=False)
    read.set_yscale("log")
    read.set_title("K and V read a step, MB (computed)", loc="left")
    for axes in (time, read):
        axes.set_xlabel("context, tokens")
    bars = agreement.bar(
        [row["attention"] for row in quality],
        [100 * row["same_most_likely_token"] for row in quality],
        color=[COLOURS[row["attention"]] for row in quality],
    )
    labels = [
        f"{100 * r['same_most_likely_token']:.0f}%\nKL {r['mean_kl_nats']:.2g}" for r in quality
    ]
    agreement.bar_label(bars, labels, padding=3, fontsize=8)
    agreement.set_ylim(0, 125)
    agreement.set_title(
        f"Same most likely token, % of {quality[0]['positions']} positions", loc="left", fontsize=10
    )
    figure.savefig(path, dpi=120)
