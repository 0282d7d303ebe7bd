"""The demo's figure: goodput and latency over time, slots coloured by arm, the confidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from autotuner.domain.experiment import Arm, Experiment
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

BIN_S = 10.0
ARM_COLOUR = {Arm.CONTROL: "#e0a030", Arm.TREATMENT: "#3a86c8"}
GOOD, BAD = "#2a7f3f", "#b23a3a"


def draw(
    path: Path,
    exposures: Sequence[Exposure],
    tests: Sequence[tuple[Experiment, float]],
    slo: SLO,
    span: tuple[float, float],
) -> None:
    """Writes the figure as PNG. `tests`: each with the time it ended; `span`: what is shown.

    Times are the worker's clock.
    """
    start, end = span
    counted = [e for e in exposures if slo.counts(e) and start <= e.arrival < end]
    figure, axes = plt.subplots(
        4, 1, figsize=(11, 11), sharex=True, constrained_layout=True, height_ratios=(3, 2, 2, 2)
    )
    _goodput(axes[0], counted, slo, span)
    _latency(axes[1], counted, slo, start, "gap_max_s", slo.gap_max_s, "largest gap, s")
    _latency(axes[2], counted, slo, start, "ttft_s", slo.ttft_s, "TTFT, s")
    _confidence(axes[3], [test for test, _ in tests], start)
    for axis in axes:
        _slots(axis, tests, span)
        axis.set_xlim(0, (end - start) / 60)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("minutes since the load began")
    arms = [Patch(color=c, alpha=0.25, label=f"{a.value} slot") for a, c in ARM_COLOUR.items()]
    handles, _ = axes[0].get_legend_handles_labels()
    axes[0].legend(handles=[*handles, *arms], loc="upper left", ncols=4, frameon=False)
    axes[0].set_title(
        "An A/B test on live traffic: poor settings to proven better ones", loc="left"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _goodput(axis: Axes, requests: Sequence[Exposure], slo: SLO, span: tuple[float, float]) -> None:
    edges = np.arange(0.0, span[1] - span[0] - BIN_S / 2, BIN_S)  # whole bins only
    arrivals = np.array([e.arrival - span[0] for e in requests])
    good = np.array([slo.met_by(e) for e in requests], dtype=bool)
    middles = (edges[:-1] + BIN_S / 2) / 60
    offered, _ = np.histogram(arrivals, edges)
    met, _ = np.histogram(arrivals[good] if len(good) else arrivals, edges)
    axis.step(middles, offered / BIN_S, where="mid", color="#888888", lw=1, label="offered")
    axis.step(middles, met / BIN_S, where="mid", color=GOOD, lw=2, label="goodput")
    axis.set_ylabel(f"requests/s ({BIN_S:.0f} s bins)")
    axis.set_ylim(0, None)
    axis.margins(y=0.25)


def _latency(
    axis: Axes,
    requests: Sequence[Exposure],
    slo: SLO,
    start: float,
    name: str,
    target_s: float | None,
    label: str,
) -> None:
    known = [(e.arrival - start, getattr(e, name), slo.met_by(e)) for e in requests]
    known = [row for row in known if row[1] is not None]
    colours = [GOOD if met else BAD for _, _, met in known]
    axis.scatter(
        [t / 60 for t, _, _ in known], [v for _, v, _ in known], s=6, c=colours, lw=0, zorder=3
    )
    if target_s is not None:
        axis.axhline(target_s, color="black", lw=1, ls="--")
        axis.annotate(
            f"SLO {target_s:g} s",
            (0.002, target_s),
            xycoords=("axes fraction", "data"),
            va="bottom",
        )
    axis.set_yscale("log")
    axis.set_ylabel(label)


def _confidence(axis: Axes, experiments: Sequence[Experiment], start: float) -> None:
    for experiment in experiments:
        ends = {slot.pair: slot.ended_at for slot in experiment.slots if slot.ended_at is not None}
        counted = [pair.index for pair in experiment.pairs]
        looks = experiment.looks[-len(counted) :] if counted else ()
        times = [(ends.get(index, experiment.started_at) - start) / 60 for index in counted]
        axis.plot(times, [look.confidence for look in looks], "o-", ms=3, color="#333333")
        if experiment.conclusion is not None and times:
            axis.annotate(
                str(experiment.conclusion.verdict), (times[-1], looks[-1].confidence),
                xytext=(6, -4),
                textcoords="offset points", fontsize=9,
            )  # fmt: skip
    axis.axhline(0.95, color="black", lw=1, ls="--")
    axis.set_ylim(0, 1.05)
    axis.set_ylabel("confidence")


def _slots(
    axis: Axes, tests: Sequence[tuple[Experiment, float]], span: tuple[float, float]
) -> None:
    for experiment, ended in tests:
        for slot in experiment.slots:
            finish = slot.ended_at if slot.ended_at is not None else ended
            left, right = (slot.started_at - span[0]) / 60, (finish - span[0]) / 60
            axis.axvspan(left, right, color=ARM_COLOUR[slot.arm], alpha=0.18, lw=0, zorder=0)
        if experiment.conclusion is not None:
            axis.axvline((ended - span[0]) / 60, color="black", lw=1, zorder=1)
