"""The life of a test on one target: periods of both arms in turn, until there is a verdict.

A period has one slot per lane: one under a switchback, two that run side by side under a split.
Its time: from `started_at` (its settings were applied) to `counted_from` is the washout; from
there to `ended_at` at least slot_s pass, of which the last cooldown_s admit no counted request.
All times are the target's; the caller's clock only bounds the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from autotuner.abtest.analysis import judged
from autotuner.abtest.conclusion import at_budget_end, conclude, early_conclusion
from autotuner.abtest.design import arms_of
from autotuner.abtest.exclusion import (
    exclude_disturbed,
    exclude_slots,
    is_open,
    is_pending,
)
from autotuner.abtest.guardrails import breach, running_breach
from autotuner.abtest.outcome import cut_short
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

    `lanes`: the settings of each lane where they differ; `apply` is lane 0's then. After the
    settings are applied, `slot_started` tells the experiment.
    """

    experiment: Experiment
    apply: Settings | None
    reason: str
    lanes: tuple[Settings, ...] | None = None


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
    limit = _breach(experiment, view, slo)
    conclusion = early_conclusion(experiment, limit)
    if conclusion is not None and conclusion.verdict is Verdict.HARMFUL:
        # Whoever suffered in slots that are not sat out shall be counted in its words.
        experiment = cut_short(experiment, view, view.live.now, slo)
        conclusion = early_conclusion(experiment, limit)
    if conclusion is not None:
        return _closing(experiment, conclusion)
    return _PHASES[experiment.phase](experiment, view, view.live)


def slot_started(experiment: Experiment, live: LiveSettings) -> Experiment:
    """The experiment with its next period opened by what the target answered to the apply.

    Unchanged where no period begins (the control came back to drain, the winner at the end).
    Raises IllegalTransitionError while the current one still runs.
    """
    if experiment.phase in (Phase.DRAINING, Phase.CLOSED):
        return experiment
    if is_open(experiment.current_slot):
        raise IllegalTransitionError(f"experiment {experiment.id}: its current slot still runs")
    lanes, begun = experiment.plan.design.lanes, len(experiment.slots)
    for lane, arm in enumerate(arms_of(experiment.seed, begun // lanes, lanes)):
        slot = Slot(begun + lane, arm, live.generation, live.applied_at, lane=lane, lanes=lanes)
        experiment = experiment.with_slot(slot)
    return experiment.to(Phase.WASHOUT)


def lanes_in(experiment: Experiment, period: int) -> tuple[Settings, ...]:
    """The settings of each lane in a period."""
    arms = arms_of(experiment.seed, period, experiment.plan.design.lanes)
    return tuple(experiment.settings_of(arm) for arm in arms)


def abort(experiment: Experiment, reason: str) -> Experiment:
    """The experiment closed as ABORTED; raises IllegalTransitionError if it is closed already."""
    return experiment.closed(conclude(experiment, Verdict.ABORTED, reason))


def harmed(experiment: Experiment, reason: str) -> Experiment:
    """The experiment closed as HARMFUL; raises IllegalTransitionError if it is closed already."""
    return experiment.closed(conclude(experiment, Verdict.HARMFUL, reason))


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
        experiment = exclude_slots(experiment, experiment.current_period, reason, None)
    return Step(experiment, None, f"waiting: {reason}")


def _breach(experiment: Experiment, view: View, slo: SLO) -> str | None:
    found = breach(experiment.slots, experiment.plan.limits, slo)
    if found is None and is_open(experiment.current_slot):
        found = running_breach(experiment, view, slo)
    return found


def _next_period(experiment: Experiment, why: str) -> Step:
    index, design = len(experiment.slots), experiment.plan.design
    period = index // design.lanes
    wanted, arms = lanes_in(experiment, period), arms_of(experiment.seed, period, design.lanes)
    slots = f"slot {index}" if len(arms) == 1 else f"slots {index} and {index + 1}"
    text = f"{why}; next is {slots} (pair {period // 2}) under the {' and the '.join(arms)}"
    differ = any(settings != wanted[0] for settings in wanted)
    return Step(experiment, wanted[0], text, wanted if differ else None)


def _current_name(experiment: Experiment) -> str:
    slots = experiment.current_period
    return " and ".join(f"slot {slot.index} ({slot.arm})" for slot in slots)


def _with_current(experiment: Experiment, change: Callable[[Slot], Slot]) -> Experiment:
    """The slots of the current period, all changed alike."""
    for slot in experiment.current_period:
        experiment = experiment.with_slot(change(slot))
    return experiment


def _planned(experiment: Experiment, _view: View, _live: LiveSettings) -> Step:
    return _next_period(experiment, f"experiment {experiment.id} starts")


def _washing_out(experiment: Experiment, view: View, live: LiveSettings) -> Step:
    slot, plan, name = experiment.slots[-1], experiment.plan, _current_name(experiment)
    lasted_s, older = live.now - slot.started_at, view.older_in_flight(slot.generation)
    at_bound = lasted_s >= plan.washout_max_s
    if not at_bound and (lasted_s < plan.washout_min_s or older):
        text = f"{name}: washout for {lasted_s:.0f} s, {older} older requests in flight"
        return Step(experiment, None, text)
    counting = _with_current(experiment, lambda s: replace(s, counted_from=live.now))
    counting = counting.to(Phase.COUNTING)
    note = f" with {older} older requests in flight: the washout's bound" if older else ""
    return Step(counting, None, f"{name}: counting begins{note}")


def _counting(experiment: Experiment, view: View, live: LiveSettings) -> Step:
    slot, plan, name = experiment.slots[-1], experiment.plan, _current_name(experiment)
    if slot.excluded is not None:
        return _after_period(experiment, view, live, f"pair {slot.pair} ends: {slot.excluded}")
    if slot.ended_at is None:
        assert slot.counted_from is not None
        counted_s = live.now - slot.counted_from
        if counted_s < plan.slot_s:
            text = f"{name}: counted {counted_s:.0f} of {plan.slot_s:g} s"
            return Step(experiment, None, text)
        experiment = _with_current(experiment, lambda s: replace(s, ended_at=live.now))
    return _after_period(experiment, view, live, f"{name} ended")


def _after_period(experiment: Experiment, view: View, live: LiveSettings, why: str) -> Step:
    plan = experiment.plan
    if len(experiment.slots) < 2 * plan.max_pairs * plan.design.lanes:
        return _next_period(experiment, why)
    drain = experiment.to(Phase.DRAINING)
    if not any(is_pending(slot) for slot in drain.slots):
        return _draining(drain, view, live)
    return Step(drain, experiment.control, f"{why}; the control is back while requests drain")


def _draining(experiment: Experiment, view: View, live: LiveSettings) -> Step:
    waiting = [slot for slot in experiment.slots if is_pending(slot)]
    if not waiting:
        why = f"the budget of {experiment.plan.max_pairs} pairs is used up"
        return _closing(experiment, at_budget_end(experiment, why))
    generations = {slot.generation for slot in waiting}
    left = sum(view.in_flight.get(generation, 0) for generation in generations)
    # What runs is lane 0's settings; the generation tells whether the other lane is back too.
    still = live.generation in {slot.generation for slot in experiment.current_period}
    missing = still or not _runs(experiment.settings_of(Arm.CONTROL), live.settings)
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
