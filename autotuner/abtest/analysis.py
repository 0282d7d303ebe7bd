"""From finished requests to slots' outcomes, pairs and looks; never what to do about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autotuner.abtest.eprocess import EProcess, log_e_paths
from autotuner.abtest.exclusion import exclude_pair, is_pending
from autotuner.abtest.interval import EVERYTHING, Interval, shift_bounds
from autotuner.abtest.outcome import difference, slot_outcome
from autotuner.abtest.view import View
from autotuner.domain.experiment import Arm, Experiment, Look, Pair, Plan, Slot
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO


def span_of(outcome: str) -> Interval:
    """The shifts that an outcome's differences can have at all."""
    return (-1.0, 1.0) if outcome == "attainment" else EVERYTHING


def judged(experiment: Experiment, view: View, live: LiveSettings, slo: SLO) -> Experiment:
    """The experiment with every slot judged whose requests are all there, and its new looks."""
    for slot in experiment.slots:
        waiting = experiment.slots[slot.index]
        if is_pending(waiting) and _all_there(waiting, view, live.now, experiment.plan):
            experiment = _with_outcome(experiment, waiting, view, live.now, slo)
    return _with_new_pairs(experiment)


def look_at(pairs: Sequence[Pair], plan: Plan) -> Look:
    """What the statistics say after `pairs`; each bound holds at every look with 1 − alpha."""
    differences = [pair.difference for pair in pairs]
    benefit = EProcess.of(differences, plan.prior_sd)
    harm = EProcess.of([-d for d in differences], plan.prior_sd)
    low, high = shift_bounds(differences, plan.prior_sd, plan.alpha, span_of(plan.outcome))
    return Look(
        pairs=len(pairs),
        log_e_benefit=benefit.log_e,
        log_e_harm=harm.log_e,
        confidence=benefit.confidence,
        effect=math.fsum(differences) / len(differences),
        low=low,
        high=high,
    )


def pairs_left(experiment: Experiment) -> int:
    """How many pairs the budget may still bring, those that wait for requests included."""
    started = (len(experiment.slots) + 1) // 2
    return experiment.plan.max_pairs - sum(_settled(experiment, pair) for pair in range(started))


def reachable(differences: Sequence[float], left: int, plan: Plan) -> bool:
    """Whether E could still reach 1/α if all pairs `left` were equal, and as good as can be.

    Tried for sizes from a quarter of prior_sd to 64 times it (at most 1 for attainment).
    """
    sizes = np.minimum(plan.prior_sd * np.geomspace(0.25, 64, 17), span_of(plan.outcome)[1])
    seen = np.tile(np.asarray(differences, dtype=np.float64), (sizes.size, 1))
    futures = np.concatenate([seen, np.repeat(sizes[:, None], left, axis=1)], axis=1)
    if futures.shape[1] == 0:
        return False
    return bool(
        log_e_paths(futures, plan.prior_sd)[:, len(differences) :].max(initial=-math.inf)
        >= -math.log(plan.alpha)
    )


def _settled(experiment: Experiment, pair: int) -> bool:
    slots = experiment.slots[2 * pair : 2 * pair + 2]
    return any(s.excluded for s in slots) or any(p.index == pair for p in experiment.pairs)


def _all_there(slot: Slot, view: View, now: float, plan: Plan) -> bool:
    """Drained; or so long ago that what is left had its first token under both arms anyway."""
    assert slot.ended_at is not None
    drained = view.in_flight.get(slot.generation, 0) == 0
    return drained or now - slot.ended_at >= plan.slot_s + plan.washout_max_s


def _with_outcome(
    experiment: Experiment, slot: Slot, view: View, now: float, slo: SLO
) -> Experiment:
    assert slot.ended_at is not None
    plan = experiment.plan
    outcome = slot_outcome(view.exposures, slot, slot.ended_at, plan, slo)
    left = view.in_flight.get(slot.generation, 0)
    outcome = replace(outcome, straddlers=outcome.straddlers + left)
    experiment = experiment.with_slot(replace(slot, outcome=outcome))
    least = max(1, plan.min_requests_per_slot)
    if outcome.requests < least:
        reason = f"too few requests ({outcome.requests}, at least {least} are needed)"
        return exclude_pair(experiment, experiment.slots[slot.index], reason, now)
    return experiment


def _with_new_pairs(experiment: Experiment) -> Experiment:
    for index in range(len(experiment.slots) // 2):
        first, second = experiment.slots[2 * index : 2 * index + 2]
        if first.outcome and second.outcome and not _settled(experiment, index):
            experiment = _with_pair(experiment, first, second)
    return experiment


def _with_pair(experiment: Experiment, first: Slot, second: Slot) -> Experiment:
    control, treatment = (first, second) if first.arm is Arm.CONTROL else (second, first)
    assert control.outcome is not None
    assert treatment.outcome is not None
    d = difference(control.outcome, treatment.outcome, experiment.plan.outcome)
    if not math.isfinite(d):
        return exclude_pair(experiment, first, f"no {experiment.plan.outcome} to compare", None)
    pairs = (*experiment.pairs, Pair(first.pair, d, control.outcome, treatment.outcome))
    looks = (*experiment.looks, look_at(pairs, experiment.plan))
    return replace(experiment, pairs=pairs, looks=looks)
