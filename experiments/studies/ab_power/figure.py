"""The figure: pairs until a true effect is accepted, and what covariates save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.studies.ab_power.deciding import MIXTURE

COLOURS = {
    "normalised": "#3a8f5c",
    "sign": "#d1772e",
    "magnitude": "#8a63b0",
    MIXTURE: "#2a78b5",
}


def draw(power: Sequence[dict[str, Any]], load: Sequence[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    pairs, saved = figure.subplots(1, 2, width_ratios=(3, 2))
    _effects(pairs, power)
    _covariates(saved, load)
    figure.savefig(path, dpi=120)


def _effects(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for test, colour in COLOURS.items():
        found = [r for r in rows if r["test"] == test and r["median_pairs"] is not None]
        x, y = [r["effect_sd"] for r in found], [r["median_pairs"] for r in found]
        width = 5.0 if test == MIXTURE else 1.2  # the parts stay visible on it
        order = 1 if test == MIXTURE else 2
        axis.plot(x, y, "o-", color=colour, lw=width, ms=4, zorder=order, label=test)
    mixture = [r for r in rows if r["test"] == MIXTURE]
    x = [r["effect_sd"] for r in mixture]
    fixed = [math.ceil(row["fixed_pairs"]) for row in mixture]
    axis.plot(x, fixed, "k--", lw=1, label="fixed size, one look")
    for row in mixture:
        at = (row["effect_sd"], row["median_pairs"])
        axis.annotate(
            f"{at[1]:.0f}", at, (8, 6), textcoords="offset points", color=COLOURS[MIXTURE]
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(x, [f"{effect:g}" for effect in x], minor=False)
    axis.minorticks_off()
    axis.set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axis.set_xlabel("true effect, sd of a pair's difference")
    axis.set_title("Median pairs until accepted", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def _covariates(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    places = np.arange(len(rows))
    for shift, key, colour in ((-0.2, "pairs_without", "#b8b8b8"), (0.2, "pairs_with", "#2a78b5")):
        bars = axis.bar(places + shift, [row[key] for row in rows], 0.38, color=colour, label=key)
        axis.bar_label(bars, fmt="%.0f", fontsize=8)
    names = [f"{row['effect_sd']:g} sd\n{row['explained']:.0%}" for row in rows]
    axis.set_xticks(places, names)
    axis.set_xlabel("true effect; share of the variance that load causes")
    axis.set_title("Median pairs, a series that load drives", loc="left", fontsize=10)
    handles, _ = axis.get_legend_handles_labels()
    axis.legend(handles, ["as measured", "load regressed out"], frameon=False, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
