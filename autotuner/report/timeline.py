"""The panel of slots over time: who ran when, what did not count and why, what was measured."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from autotuner.domain.experiment import Arm, Experiment, Slot
from autotuner.domain.measures import Measure, measure
from autotuner.report.canvas import folded, note, nothing_yet, titled
from autotuner.report.facts import Exclusion, exclusions, slot_end
from autotuner.report.palette import ARM_COLOUR, ARM_MARKER, FAINT, MUTED, ON_ARM

_WASHOUT_HATCH, _EXCLUDED_HATCH = "////", "xxxx"
_MOST_REASONS = 4
_MOST_LETTERS = 30  # slots side by side that still have room for an arm's letter
_MOST_LARGE = 80  # slots whose marks still stand apart at full size


def slots_panel(area: FigureBase, test: Experiment, narrow: bool) -> None:
    """The primary measure per slot above, the lanes' slots below, the reasons under them."""
    lanes = test.plan.design.lanes
    values, strip = area.subplots(2, 1, sharex=True, height_ratios=(5, 1.1 * lanes))
    titled(values, "Slots over time", narrow)
    if not test.slots:
        nothing_yet(values, "no slot has begun yet")
        strip.set_axis_off()
        return
    _values(values, test)
    _strip(strip, test, lanes)
    _legend(area, narrow)
    label = "minutes since the first slot"
    reasons = _reasons(exclusions(test), narrow)
    strip.set_xlabel(f"{label}\n{reasons}" if reasons else label, multialignment="left")


def _values(axis: Axes, test: Experiment) -> None:
    outcome, plan = measure(test.plan.outcome), test.plan
    scale = 100.0 if outcome.unit == "share" else 1.0
    for slot in test.slots:
        seen = slot.outcome
        value = math.nan if seen is None else outcome.value(seen, plan.upkeep(slot.arm))
        if math.isfinite(value):
            _value(axis, test, slot, scale * value)
    axis.set_ylabel(_axis_label(outcome))
    axis.grid(axis="y", color=FAINT, lw=0.6)
    axis.margins(y=0.12)


def _value(axis: Axes, test: Experiment, slot: Slot, value: float) -> None:
    """A bar over the counted time, with a mark; pale and hollow where it does not count."""
    start = slot.started_at if slot.counted_from is None else slot.counted_from
    left, right = _minutes(test, start), _minutes(test, slot_end(slot, test))
    colour, counts = ARM_COLOUR[slot.arm], slot.excluded is None
    axis.plot([left, right], [value, value], color=colour, lw=2.2 if counts else 0.8)
    axis.plot(
        (left + right) / 2, value, ARM_MARKER[slot.arm],
        ms=5 if len(test.slots) <= _MOST_LARGE else 3, mec=colour, mfc=colour if counts else "none",
    )  # fmt: skip


def _strip(axis: Axes, test: Experiment, lanes: int) -> None:
    letters = len(test.slots) / lanes <= _MOST_LETTERS
    for slot in test.slots:
        _slot(axis, test, slot, letters)
    axis.set_ylim(lanes - 0.5, -0.5)
    axis.set_yticks(range(lanes), [f"lane {n}" for n in range(lanes)] if lanes > 1 else [""])
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    last = max(slot_end(slot, test) for slot in test.slots)
    axis.set_xlim(0, max(_minutes(test, last), 0.05))


def _slot(axis: Axes, test: Experiment, slot: Slot, letters: bool) -> None:
    start, end = _minutes(test, slot.started_at), _minutes(test, slot_end(slot, test))
    counted = end if slot.counted_from is None else _minutes(test, slot.counted_from)
    colour = ARM_COLOUR[slot.arm]
    if slot.excluded is not None:
        _bar(axis, slot.lane, start, end, fc=FAINT, ec=colour, hatch=_EXCLUDED_HATCH)
        return
    _bar(axis, slot.lane, start, counted, fc="none", ec=colour, hatch=_WASHOUT_HATCH)
    _bar(axis, slot.lane, counted, end, fc=colour, ec=colour)
    if letters and end > counted:
        letter = slot.arm.value[0].upper()
        note(
            axis, letter, (counted + end) / 2, slot.lane,
            ha="center", va="center_baseline", color=ON_ARM[slot.arm], clip_on=True,
        )  # fmt: skip


def _bar(axis: Axes, lane: int, start: float, end: float, **style: Any) -> None:
    if end > start:
        axis.add_patch(Rectangle((start, lane - 0.4), end - start, 0.8, lw=0.6, **style))


def _legend(area: FigureBase, narrow: bool) -> None:
    arms = [
        Line2D([], [], color=ARM_COLOUR[arm], marker=ARM_MARKER[arm], ms=5, label=arm.value)
        for arm in Arm
    ]
    kinds = [
        Patch(fc="none", ec=MUTED, hatch=_WASHOUT_HATCH, label="washout"),
        Patch(fc=FAINT, ec=MUTED, hatch=_EXCLUDED_HATCH, label="does not count"),
    ]
    area.legend(handles=[*arms, *kinds], loc="outside upper right", ncols=2 if narrow else 4)


def _reasons(found: tuple[Exclusion, ...], narrow: bool) -> str:
    lines = [folded(_reason(one), narrow, lines=2) for one in found[:_MOST_REASONS]]
    if len(found) > _MOST_REASONS:
        lines.append(f"… and {len(found) - _MOST_REASONS} more reasons")
    return "\n".join(lines)


def _reason(one: Exclusion) -> str:
    named = one.slots or one.mates
    numbers = ", ".join(str(index) for index in named)
    rest = f" (with {', '.join(str(i) for i in one.mates)})" if one.slots and one.mates else ""
    return f"slot{'s' if len(named) > 1 else ''} {numbers}{rest}: {one.reason}"


def _axis_label(outcome: Measure) -> str:
    return f"{outcome.words}, {'%' if outcome.unit == 'share' else outcome.unit}"


def _minutes(test: Experiment, at: float) -> float:
    return (at - test.slots[0].started_at) / 60
