"""What a change of a knob that is not live takes, as tests saw it, and whether it can pay."""

from __future__ import annotations

import itertools
import math
from statistics import median

from autotuner.domain.experiment import Experiment
from autotuner.domain.knobs import KnobSpace, Settings


def needs_rebuild(space: KnobSpace, old: Settings, new: Settings) -> bool:
    """Whether a knob differs that is not live."""
    changed = new.changed_from(old)
    return any(not knob.live and knob.name in changed for knob in space)


def rebuild_s(test: Experiment, space: KnobSpace, before: float = math.nan) -> float:
    """The median time (s) that the test's changes of arm took; `before` where it tells nothing.

    From the end of a slot, when the other arm was asked for, to the next slot's start, when the
    target had it in force: both on the target's clock.
    """
    if not needs_rebuild(space, test.control, test.treatment):
        return before
    lane = [slot for slot in test.slots if slot.lane == 0]
    took = [
        new.started_at - old.ended_at
        for old, new in itertools.pairwise(lane)
        if old.arm is not new.arm and old.ended_at is not None
    ]
    return median(took) if took else before


def too_late(took_s: float, steady_for_s: float) -> str | None:
    """Why a change that takes so long can't pay before the load is another one; None if it can."""
    if math.isnan(took_s) or took_s <= steady_for_s:
        return None
    return (
        f"the change takes {took_s:.0f} s as the last one did, and in {steady_for_s:.0f} s the "
        "forecast has another load"
    )
