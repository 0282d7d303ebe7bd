"""The study's figure: cycle time, CPU and memory over the number of targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes three panels with the limits that were set beforehand."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    times, cpu, memory = figure.subplots(1, 3)
    numbers = [row["targets"] for row in rows]
    times.plot(numbers, [row["cycle_median_s"] for row in rows], "o-", label="median")
    times.plot(numbers, [row["cycle_p99_s"] for row in rows], "s-", label="P99")
    times.axhline(5.0, color="grey", linestyle="--", label="the cycle's interval")
    times.set_yscale("log")
    times.set_ylabel("cycle (s)")
    times.legend(fontsize=8)
    cpu.plot(numbers, [row["cpu_cores"] for row in rows], "o-")
    cpu.set_yscale("log")
    cpu.set_ylabel("CPU (cores)")
    memory.plot(numbers, [row["memory_mib"] for row in rows], "o-")
    memory.axhline(1536, color="grey", linestyle="--")
    memory.set_ylabel("resident memory (MiB)")
    memory.set_ylim(bottom=0)
    for panel in (times, cpu, memory):
        panel.set_xscale("log")
        panel.set_xlabel("targets")
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
