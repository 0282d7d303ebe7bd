"""What a change of a knob that is not live takes, as tests saw it, and whether it can pay."""

from __future__ import annotations

import itertools
import math
from statistics import median

from autotuner.abtest.design import needed_pairs
from autotuner.abtest.planning import expected_pairs
from autotuner.domain.error_budget import ErrorBudget
from autotuner.domain.experiment import Experiment, Plan
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.ports import LiveSettings
from autotuner.tuner.values import Rules, TunerState


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


def restart_s(state: TunerState, live: LiveSettings | None, rules: Rules) -> float:
    """What a change by restart takes (s): as tests saw it, else as the target says; NaN unknown.

    Replicas restart one after the other.
    """
    if math.isfinite(state.rebuild_s) or live is None:
        return state.rebuild_s
    return live.restart_s * rules.replicas


def change_s(
    state: TunerState, live: LiveSettings | None, candidate: Settings, rules: Rules
) -> float:
    """What a change from the incumbent to `candidate` takes; 0 for live knobs and where unknown."""
    if not needs_rebuild(rules.space, state.incumbent, candidate):
        return 0.0
    took_s = restart_s(state, live, rules)
    return took_s if math.isfinite(took_s) else 0.0


def too_costly(plan: Plan, effect: float | None, budget: ErrorBudget | None) -> str | None:
    """Why the error budget does not spare what the test's restarts cost; None where it does."""
    if budget is None or not plan.restart_s > 0:
        return None
    return budget.downtime(2 * min(_pairs(plan, effect), plan.max_pairs), plan.restart_s)


def _pairs(plan: Plan, effect: float | None) -> float:
    """Pairs that decide the test (inf: none do); the fewest where no effect is hoped for."""
    hoped = effect is not None and effect > 0
    return expected_pairs(plan, effect) if hoped and effect else needed_pairs(math.inf, plan.alpha)


def too_late(
    plan: Plan, effect: float | None, attainment: float, steady_for_s: float
) -> str | None:
    """Why a test with restarts can't pay before the load is another one; None where it can.

    Time is the first bound: the test has to end before. Where the gain of attainment is predicted
    (`effect`, points), it is the second: what is met meanwhile and afterwards, until the load
    changes, against what the restarts take from the `attainment` of now (as if nothing were served
    in them).
    """
    if not plan.restart_s > 0 or math.isinf(steady_for_s):
        return None
    hoped = effect is not None and effect > 0
    pairs = _pairs(plan, effect)
    test_s, restarts = 2 * pairs * plan.period_s, 2 * pairs
    if math.isinf(test_s):
        return None  # refused for that
    what = (
        f"a restart takes {plan.restart_s:.0f} s, so that a test takes about {test_s:.0f} s "
        f"({pairs:.0f} pairs of {plan.slot_s:.0f} s slots)"
    )
    if test_s >= steady_for_s:
        return f"{what}, and in {steady_for_s:.0f} s the forecast has another load"
    if not hoped or effect is None or plan.outcome != "attainment" or math.isnan(attainment):
        return None
    cost_s = restarts * plan.restart_s * attainment
    gain_s = effect * (steady_for_s - test_s + pairs * plan.slot_s)
    if gain_s >= cost_s:
        return None
    return (
        f"{what}; its {restarts:.0f} restarts cost as much as {cost_s:.0f} s of good service, and "
        f"a gain of {effect:.3f} until the forecast has another load, in {steady_for_s:.0f} s, "
        f"brings {gain_s:.0f} s"
    )
