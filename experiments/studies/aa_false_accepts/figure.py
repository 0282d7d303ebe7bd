"""The figure: of each scenario's A/A tests, the share that each method accepted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.studies.aa_false_accepts.methods import ADJUSTED, ALPHA

# Colour and marker; the e-process in front.
STYLES = {
    "paired t, one look": ("#8c8c8c", "|"),
    "asymptotic sequence": ("#3a8f5c", "D"),
    "rank-sum, peeked": ("#8a63b0", "^"),
    "paired t, peeked": ("#d1772e", "s"),
    ADJUSTED: ("#7fb3dc", "o"),
    "e-process": ("#2a78b5", "o"),
}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Where a scenario has two outcomes the larger share is drawn."""
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    one, two = figure.subplots(2, 1, height_ratios=(7, 6), sharex=True)
    _panel(one, [row for row in rows if row["design"] == "switchback"])
    _panel(two, [row for row in rows if row["design"] != "switchback"])
    one.set_title("one target, switchback", loc="left", fontsize=10)
    two.set_title("two machines at once (plain: no swap of the arms)", loc="left", fontsize=10)
    two.set_xlabel("A/A tests accepted, % (dashed: the 5% that a 95% test may accept)")
    handles, labels = one.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=120)


def _panel(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(_label(row) for row in rows))
    for method, (colour, marker) in STYLES.items():
        shares: dict[str, float] = {}
        for row in rows:
            if row["method"] == method:
                name = _label(row)
                shares[name] = max(shares.get(name, 0.0), 100 * row["accepted_share"])
        if shares:
            places = [names.index(name) for name in shares]
            axis.plot(list(shares.values()), places, marker, color=colour, ms=6.5, label=method)
    axis.axvline(100 * ALPHA, color="black", linestyle="--", linewidth=1)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="y", color="#e6e6e6")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _label(row: dict[str, Any]) -> str:
    plain = ": plain" if row["design"] == "plain split" else ""
    return f"{row['scenario']}{plain}"
