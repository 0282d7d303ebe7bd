"""The figure: tokens per second by batch size, predicted and measured, and the target's band."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(content: dict[str, Any], path: Path) -> None:
    rows = content["rows"]
    batches = [row["batch"] for row in rows]
    measured = [row["tokens_per_s"] for row in rows]
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(
        batches,
        [0.7 * rate for rate in measured],
        [1.3 * rate for rate in measured],
        color="#4d4d4d",
        alpha=0.15,
        lw=0,
        label="within 30%",
    )
    axes.plot(batches, measured, "o-", color="#4d4d4d", label="measured")
    predicted = [row["predicted_tokens_per_s"] for row in rows]
    axes.plot(batches, predicted, "s--", color="#2a78b5", label="predicted")
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch")
    axes.set_title("Decode, tokens per second of CPU time", loc="left")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
