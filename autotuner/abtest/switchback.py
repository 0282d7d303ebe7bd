"""The life of a test on one target: slots of both arms in turn, until there is a verdict.

A slot's time: from `started_at` (its settings were applied) to `counted_from` is the washout; from
there to `ended_at` at least slot_s pass, of which the last cooldown_s admit no counted request.
All times are the target's; the caller's clock only bounds the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from autotuner.abtest.analysis import judged
from autotuner.abtest.conclusion import at_budget_end, conclude, early_conclusion
from autotuner.abtest.design import arm_of
from autotuner.abtest.exclusion import exclude_disturbed, exclude_pair, is_open, is_pending
from autotuner.abtest.guardrails import breach, running_breach
from autotuner.abtest.view import View
from autotuner.domain.errors import IllegalTransitionError
from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    Phase,
    Plan,
    Slot,
    Verdict,
)
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO


@dataclass(frozen=True)
class Step:
    """What to do now: the experiment as it is, the settings to apply (None: none), and why.

    After the settings are applied, `slot_started` tells the experiment.
    """

    experiment: Experiment
    apply: Settings | None
    reason: str


def advance(experiment: Experiment, view: View, now: float, slo: SLO) -> Step:
    """One cycle of the test: what was seen, what follows.

    `now` is the caller's clock (that of `experiment.started_at`); it serves only to end a test
    that takes twice its budget. Asked again after an apply that failed, it says the same again.
    """
    if not experiment.running:
        return Step(experiment, None, f"experiment {experiment.id} is closed")
    if now - experiment.started_at > 2 * experiment.plan.budget_s:
        return _closing(experiment, at_budget_end(experiment, "twice its budget of time is over"))
    if view.live is None:
        return _unreachable(experiment, view)
    experiment = exclude_disturbed(experiment, view, view.live)
    experiment = judged(experiment, view, view.live, slo)
    conclusion = early_conclusion(experiment, _breach(experiment, view, slo))
    if conclusion is not None:
        return _closing(experiment, conclusion)
    return _PHASES[experiment.phase](experiment, view, view.live)


def slot_started(experiment: Experiment, live: LiveSettings) -> Experiment:
    """The experiment with its next slot opened by what the target answered to the apply.

    Unchanged where no slot begins (the control came back to drain, the winner at the end).
    Raises IllegalTransitionError while the current slot still runs.
    """
    if experiment.phase in (Phase.DRAINING, Phase.CLOSED):
        return experiment
    if is_open(experiment.current_slot):
        raise IllegalTransitionError(f"experiment {experiment.id}: its current slot still runs")
    index = len(experiment.slots)
    slot = Slot(index, arm_of(experiment.seed, index), live.generation, live.applied_at)
    return experiment.with_slot(slot).to(Phase.WASHOUT)


def abort(experiment: Experiment, reason: str) -> Experiment:
    """The experiment closed as ABORTED; raises IllegalTransitionError if it is closed already."""
    return experiment.closed(conclude(experiment, Verdict.ABORTED, reason))


def washout_cut_short(slot: Slot, plan: Plan) -> bool:
    """Whether counting began at the bound, perhaps with the other arm's requests unfinished."""
    return (
        slot.counted_from is not None and slot.counted_from - slot.started_at >= plan.washout_max_s
    )


def winner(experiment: Experiment) -> Settings:
    """The settings to run after a closed experiment: the treatment only if it was accepted."""
    ended = experiment.conclusion
    accepted = ended is not None and ended.verdict is Verdict.ACCEPTED
    return experiment.treatment if accepted else experiment.control


def _closing(experiment: Experiment, conclusion: Conclusion) -> Step:
    closed = experiment.closed(conclusion)
    return Step(closed, winner(closed), f"{conclusion.verdict}: {conclusion.reason}")


def _unreachable(experiment: Experiment, view: View) -> Step:
    plan, current = experiment.plan, experiment.current_slot
    reason = f"the target has not answered for {view.unreachable_s:.0f} s"
    if view.unreachable_s > 6 * (plan.slot_s + plan.washout_max_s):
        return _closing(experiment, at_budget_end(experiment, reason))
    if current is not None and is_open(current) and view.unreachable_s > plan.washout_max_s:
        experiment = exclude_pair(experiment, current, reason, None)
    return Step(experiment, None, f"waiting: {reason}")


def _breach(experiment: Experiment, view: View, slo: SLO) -> str | None:
    limits, slots = experiment.plan.limits, experiment.slots
    found = breach(slots, limits, slo)
    if found is None and is_open(experiment.current_slot):
        found = running_breach(slots, view.exposures, view.in_flight, limits)
    return found


def _next_slot(experiment: Experiment, why: str) -> Step:
    index = len(experiment.slots)
    arm = arm_of(experiment.seed, index)
    text = f"{why}; next is slot {index} (pair {index // 2}) under the {arm}"
    return Step(experiment, experiment.settings_of(arm), text)


def _planned(experiment: Experiment, _view: View, _live: LiveSettings) -> Step:
    return _next_slot(experiment, f"experiment {experiment.id} starts")


def _washing_out(experiment: Experiment, view: View, live: LiveSettings) -> Step:
    slot, plan = experiment.slots[-1], experiment.plan
    lasted_s, older = live.now - slot.started_at, view.older_in_flight(slot.generation)
    at_bound = lasted_s >= plan.washout_max_s
    if not at_bound and (lasted_s < plan.washout_min_s or older):
        text = f"slot {slot.index} ({slot.arm}): washout for {lasted_s:.0f} s"
        return Step(experiment, None, f"{text}, {older} older requests in flight")
    counting = experiment.with_slot(replace(slot, counted_from=live.now)).to(Phase.COUNTING)
    note = f" with {older} older requests in flight: the washout's bound" if older else ""
    return Step(counting, None, f"slot {slot.index} ({slot.arm}): counting begins{note}")


def _counting(experiment: Experiment, view: View, live: LiveSettings) -> Step:
    slot, plan = experiment.slots[-1], experiment.plan
    if slot.excluded is not None:
        return _after_slot(experiment, view, live, f"pair {slot.pair} ends: {slot.excluded}")
    if slot.ended_at is None:
        assert slot.counted_from is not None
        counted_s = live.now - slot.counted_from
        if counted_s < plan.slot_s:
            text = f"slot {slot.index} ({slot.arm}): counted {counted_s:.0f} of {plan.slot_s:g} s"
            return Step(experiment, None, text)
        experiment = experiment.with_slot(replace(slot, ended_at=live.now))
    return _after_slot(experiment, view, live, f"slot {slot.index} ({slot.arm}) ended")


def _after_slot(experiment: Experiment, view: View, live: LiveSettings, why: str) -> Step:
    if len(experiment.slots) < 2 * experiment.plan.max_pairs:
        return _next_slot(experiment, why)
    drain = experiment.to(Phase.DRAINING)
    if not any(is_pending(slot) for slot in drain.slots):
        return _draining(drain, view, live)
    return Step(drain, experiment.control, f"{why}; the control is back while requests drain")


def _draining(experiment: Experiment, view: View, live: LiveSettings) -> Step:
    waiting = [slot for slot in experiment.slots if is_pending(slot)]
    if not waiting:
        why = f"the budget of {experiment.plan.max_pairs} pairs is used up"
        return _closing(experiment, at_budget_end(experiment, why))
    left = sum(view.in_flight.get(slot.generation, 0) for slot in waiting)
    missing = not _runs(experiment.settings_of(Arm.CONTROL), live.settings)
    back = experiment.control if missing else None
    return Step(experiment, back, f"draining: {left} requests of the last slots in flight")


def _runs(wanted: Settings, live: Mapping[str, Value]) -> bool:
    return all(live.get(name) == value for name, value in wanted.items())


_PHASES = {
    Phase.PLANNED: _planned,
    Phase.WASHOUT: _washing_out,
    Phase.COUNTING: _counting,
    Phase.DRAINING: _draining,
}
