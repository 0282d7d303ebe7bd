"""From finished requests to slots' outcomes, pairs and looks; never what to do about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from autotuner.abtest.covariates import explained
from autotuner.abtest.evidence import Evidence, evidence_of
from autotuner.abtest.exclusion import exclude_pair, is_pending, slots_of_pair
from autotuner.abtest.outcome import merged, slot_outcome
from autotuner.abtest.view import View
from autotuner.domain.experiment import Arm, Experiment, Pair, Plan, Slot, SlotOutcome
from autotuner.domain.measures import Measure, measure
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO

# Chosen: in periods; as long as a target may be silent before its test ends.
_LONGEST_WAIT = 6


def judged(experiment: Experiment, view: View, live: LiveSettings, slo: SLO) -> Experiment:
    """The experiment with every slot judged whose requests are all there, and its new looks."""
    for slot in experiment.slots:
        waiting = experiment.slots[slot.index]
        if is_pending(waiting) and _all_there(waiting, view, live.now, experiment.plan):
            experiment = _with_outcome(experiment, waiting, view, live.now, slo)
    return _with_new_pairs(experiment)


def evidence(experiment: Experiment) -> Evidence:
    """What the pairs so far say; one more pair than last time costs one update."""
    plan = experiment.plan
    adjusted = tuple(pair.adjusted for pair in experiment.pairs)
    guarded = tuple(_guardrail_differences(experiment, pair.index) for pair in experiment.pairs)
    return evidence_of(adjusted, guarded, plan)


def pairs_left(experiment: Experiment) -> int:
    """How many pairs the budget may still bring, those that wait for requests included."""
    started = experiment.slots[-1].pair + 1 if experiment.slots else 0
    return experiment.plan.max_pairs - sum(_settled(experiment, pair) for pair in range(started))


def _settled(experiment: Experiment, pair: int) -> bool:
    slots = slots_of_pair(experiment, pair)
    return any(s.excluded for s in slots) or any(p.index == pair for p in experiment.pairs)


def _all_there(slot: Slot, view: View, now: float, plan: Plan) -> bool:
    """Drained; or so long ago that what is left was not served as anybody would wish."""
    assert slot.ended_at is not None
    return view.drained(slot) or now - slot.ended_at >= _LONGEST_WAIT * (
        plan.slot_s + plan.washout_max_s
    )


def _with_outcome(
    experiment: Experiment, slot: Slot, view: View, now: float, slo: SLO
) -> Experiment:
    assert slot.ended_at is not None
    plan = experiment.plan
    outcome = slot_outcome(view, slot, slot.ended_at, plan, slo, view.unfinished_of(slot))
    experiment = experiment.with_slot(replace(slot, outcome=outcome))
    least = max(1, plan.min_requests_per_slot)
    if outcome.requests < least:
        reason = f"too few requests ({outcome.requests}, at least {least} are needed)"
        return exclude_pair(experiment, experiment.slots[slot.index], reason, now)
    return experiment


def _with_new_pairs(experiment: Experiment) -> Experiment:
    size = 2 * experiment.plan.design.lanes
    for index in range(len(experiment.slots) // size):
        slots = slots_of_pair(experiment, index)
        if all(slot.outcome for slot in slots) and not _settled(experiment, index):
            experiment = _with_pair(experiment, slots)
    return experiment


def _with_pair(experiment: Experiment, slots: Sequence[Slot]) -> Experiment:
    plan = experiment.plan
    difference = _difference(slots, measure(plan.outcome), plan)
    if not math.isfinite(difference):
        return exclude_pair(experiment, slots[0], f"no {plan.outcome} to compare", None)
    control, treatment = _arm(slots, Arm.CONTROL), _arm(slots, Arm.TREATMENT)
    adjustment = explained(experiment.pairs, control, treatment, plan.covariates)
    pair = Pair(slots[0].pair, difference, control, treatment, adjustment)
    experiment = replace(experiment, pairs=(*experiment.pairs, pair))
    return replace(experiment, looks=(*experiment.looks, evidence(experiment).look()))


def _difference(slots: Sequence[Slot], by: Measure, plan: Plan) -> float:
    """A pair's difference. Under a split it is the mean of its periods' differences.

    Each period sets one machine against the other, with the arms swapped, so that a difference
    between the machines that stays cancels in the mean.
    """
    lanes = slots[0].lanes
    compared = [slots] if lanes == 1 else [slots[:lanes], slots[lanes:]]
    differences = [
        by.difference(_arm(group, Arm.CONTROL), _arm(group, Arm.TREATMENT), plan)
        for group in compared
    ]
    return sum(differences) / len(differences)


def _arm(slots: Sequence[Slot], arm: Arm) -> SlotOutcome:
    """What the slots of an arm served; two of them (a split's) as one."""
    outcomes = [slot.outcome for slot in slots if slot.arm is arm and slot.outcome is not None]
    return outcomes[0] if len(outcomes) == 1 else merged(outcomes)


def _guardrail_differences(experiment: Experiment, pair: int) -> dict[str, float]:
    """A pair's difference in each guardrail's measure; NaN where it was not measured."""
    plan, slots = experiment.plan, slots_of_pair(experiment, pair)
    return {
        guardrail.measure: _difference(slots, measure(guardrail.measure), plan)
        for guardrail in plan.guardrails
    }
