"""The study's figure: an A/A, the tests of a true gain, and one harmful change."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from autotuner.domain.experiment import Arm, Slot
from autotuner.domain.slo import SLO
from experiments.studies.ab_live.bench import Tested
from experiments.studies.ab_live.harm import Harm
from experiments.studies.ab_live.measured import LOG_GAIN, Measured, by_hard_limit

CONTROL, TREATMENT, MISSED = "#4d7ea8", "#d97b29", "#b23a3a"


def draw(measured: Measured, path: Path) -> None:
    """Writes the figure to `path`."""
    figure, axes = plt.subplot_mosaic(
        "AG;ag;HH", figsize=(11, 10), height_ratios=[1, 1, 1.5], layout="constrained"
    )
    _differences(axes["A"], [measured.aa], "A/A: the same settings in both arms")
    _differences(axes["G"], measured.gains, _gain_title(measured))
    axes["G"].axhline(measured.truth.log_gain, color="black", ls=":", label="true, measured apart")
    axes["G"].legend(frameon=False, loc="lower right")
    _confidence(axes["a"], [measured.aa])
    _confidence(axes["g"], measured.gains)
    axes["g"].axvline(measured.planned, color="black", ls=":", label="pairs planned")
    axes["g"].legend(frameon=False, loc="lower right")
    test, cost = measured.harms[0]
    _harm(axes["H"], test, cost, measured.demand.slo)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _gain_title(measured: Measured) -> str:
    used = ", ".join(str(len(test.experiment.pairs)) for test in measured.gains)
    return (
        f"A true cut of {measured.truth.cut:.0%}: {measured.planned:.0f} pairs planned for "
        f"{1 - math.exp(-LOG_GAIN):.0%}; used {used}"
    )


def _differences(axis: Any, tests: Any, title: str) -> None:
    for test in tests:
        pairs = test.experiment.pairs
        at = range(1, len(pairs) + 1)
        axis.plot(at, [pair.difference for pair in pairs], "o-", ms=3.5, lw=0.8, alpha=0.8)
    axis.axhline(0, color="black", lw=0.8)
    axis.set_ylabel("gain of a pair (log of time)")
    axis.set_title(title, loc="left", fontsize=10)


def _confidence(axis: Any, tests: Any) -> None:
    for test in tests:
        looks = test.experiment.looks
        at = range(1, len(looks) + 1)
        axis.plot(at, [look.confidence for look in looks], "o-", ms=3.5, lw=1)
    axis.axhline(0.95, color=MISSED, ls="--", lw=1)
    axis.annotate("accepted", (0.01, 0.95), xycoords=("axes fraction", "data"), va="bottom",
                  color=MISSED, fontsize=9)  # fmt: skip
    axis.set_ylim(0, 1.08)
    axis.set_ylabel("highest confidence so far")
    axis.set_xlabel("pair")


def _harm(axis: Any, test: Tested, cost: Harm, slo: SLO) -> None:
    """Each request at its arrival, as high as its wait for the first token."""
    slots = [slot for slot in test.experiment.slots if slot.generation > 0]
    zero, end = slots[0].started_at, test.settled_at
    for slot, until in zip(slots, [*(s.started_at for s in slots[1:]), end], strict=True):
        _slot_band(axis, slot, until, zero)
    requests = [r for r in test.requests if r.arrival >= zero and r.ttft_s is not None]
    good = [r for r in requests if slo.met_by(r)]
    missed = [r for r in requests if not slo.met_by(r)]
    for group, colour, name in ((good, CONTROL, "met the SLO"), (missed, MISSED, "missed it")):
        at, wait = [r.arrival - zero for r in group], [r.ttft_s for r in group]
        axis.scatter(at, wait, s=14, color=colour, label=name, zorder=3)
    if slo.ttft_s is not None:
        axis.axhline(slo.ttft_s, color="black", ls="--", lw=1, label="SLO")
    axis.axvline(end - zero, color="black", lw=2, label="the control is back")
    axis.set_xlabel("seconds since the test began")
    axis.set_ylabel("time to first token, s")
    how = "ended by a hard limit" if by_hard_limit(test) else "not ended by a hard limit"
    axis.set_title(
        f"A token budget of 16: {how} in treatment slot {cost.treatment_slots}, "
        f"{cost.first_miss_to_rollback_s:.0f} s after the first missed request\n"
        f"{cost.suffered} of {cost.under_treatment} requests under it suffered "
        f"({cost.suffered_share:.0%}), {cost.all_missed} of {cost.all_requests} in all",
        loc="left", fontsize=10,
    )  # fmt: skip
    axis.margins(y=0.2)
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, loc="upper left", ncols=4, fontsize=9)


def _slot_band(axis: Any, slot: Slot, until: float, zero: float) -> None:
    treated = slot.arm is Arm.TREATMENT
    colour = TREATMENT if treated else CONTROL
    axis.axvspan(slot.started_at - zero, until - zero, color=colour, alpha=0.25 if treated else 0.1)
    middle = (slot.started_at + until) / 2 - zero
    axis.annotate(slot.arm.value, (middle, 0.02), xycoords=("data", "axes fraction"),
                  ha="center", fontsize=9)  # fmt: skip
