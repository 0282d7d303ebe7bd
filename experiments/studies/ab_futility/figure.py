"""The figure: how long tests last, and how many are accepted, with and without giving up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

LOOKS = {0.0: ("#4d4d4d", "never"), 0.9: ("#d1772e", "at 90%"), 0.95: ("#2a78b5", "at 95%"),
         0.99: ("#3a8f5c", "at 99%")}  # fmt: skip


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    pairs, power = figure.subplots(1, 2)
    for level, (colour, label) in LOOKS.items():
        found = [row for row in rows if row["level"] == level]
        effects = [row["effect_sd"] for row in found]
        pairs.plot(effects, [row["mean_pairs"] for row in found], "o-", color=colour, ms=4)
        power.plot(
            effects, [row["accepted"] for row in found], "o-", color=colour, ms=4, label=label
        )
        power.plot(effects, [row["harmful"] for row in found], "o--", color=colour, ms=3, lw=1)
    pairs.set_title("Mean pairs of a test of at most 30", loc="left", fontsize=10)
    pairs.set_ylim(bottom=0)
    power.set_title("Share accepted (dashed: shown harmful)", loc="left", fontsize=10)
    power.legend(frameon=False, fontsize=9, title="given up")
    for axis in (pairs, power):
        axis.set_xlabel("true effect, sd of a pair's difference")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
