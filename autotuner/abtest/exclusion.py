"""Which pairs do not count: rules fixed before a test, blind to the arm and to what it served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from autotuner.abtest.design import arms_of
from autotuner.abtest.guardrails import RESTARTED
from autotuner.abtest.view import View
from autotuner.domain.experiment import Experiment, Phase, Slot
from autotuner.domain.ports import LiveSettings

# How the reason of a slot begins that is left out only because of the other slots of its pair.
MATE = "its pair does not count"


def is_open(slot: Slot | None) -> bool:
    """Whether the slot is one that runs."""
    return slot is not None and slot.ended_at is None and slot.excluded is None


def is_pending(slot: Slot) -> bool:
    """Whether the slot has ended and waits for its last requests."""
    return slot.ended_at is not None and slot.outcome is None and slot.excluded is None


def exclude_pair(
    experiment: Experiment, slot: Slot, reason: str, ended_at: float | None
) -> Experiment:
    """The experiment with the pair of `slot` not counted, because of `reason` in that slot.

    Slots of the pair that run end at `ended_at` (None while the target does not answer); a second
    period that has not begun is entered as never run (generation 0).
    """
    return exclude_slots(experiment, (slot,), reason, ended_at)


def exclude_slots(
    experiment: Experiment, at_fault: tuple[Slot, ...], reason: str, ended_at: float | None
) -> Experiment:
    """As `exclude_pair`, because of `reason` in all of `at_fault`: slots of one period."""
    first = at_fault[0]
    was_running = any(is_open(s) and s.pair == first.pair for s in experiment.current_period)
    faults = {slot.index for slot in at_fault}
    for mate in [s for s in experiment.slots if s.pair == first.pair and s.excluded is None]:
        why = reason if mate.index in faults else _mate_reason(first, reason)
        ended = mate.ended_at if mate.ended_at is not None else ended_at
        experiment = experiment.with_slot(replace(mate, excluded=why, ended_at=ended))
    last = experiment.slots[-1]
    if last.pair == first.pair and last.period % 2 == 0:
        experiment = _without_second_period(experiment, first, reason, ended_at)
    if was_running and experiment.phase is Phase.WASHOUT:
        return experiment.to(Phase.COUNTING)
    return experiment


def exclude_disturbed(experiment: Experiment, view: View, live: LiveSettings) -> Experiment:
    """The experiment without the pairs that this cycle's disturbances spoiled."""
    if view.boot_changed:
        lost = "its last requests were lost when the target restarted"
        restarted = _restarted_in(view)
        return _exclude_unjudged(experiment, f"{RESTARTED} in this slot", lost, live.now, restarted)
    if view.overrun:
        lost = "exposures were overwritten before they were read"
        return _exclude_unjudged(experiment, lost, lost, live.now)
    current = experiment.current_slot
    if current is not None and is_open(current) and live.generation != current.generation:
        reason = (
            f"somebody changed the settings in this slot (generation {current.generation} "
            f"became {live.generation})"
        )
        return exclude_slots(experiment, experiment.current_period, reason, live.now)
    return experiment


def excluded_in_a_row(experiment: Experiment) -> tuple[str, ...]:
    """The reasons of the last pairs that did not count, back to the last one that did.

    A pair that still waits for its last requests neither adds to the row nor ends it.
    """
    reasons: list[str] = []
    counted = {pair.index for pair in experiment.pairs}
    last = experiment.slots[-1].pair if experiment.slots else -1
    for index in range(last, -1, -1):
        if index in counted:
            break
        why = [s.excluded for s in slots_of_pair(experiment, index) if s.excluded]
        if why:
            own = [text for text in why if not text.startswith(MATE)]
            reasons.append((own or why)[0])
    return tuple(reversed(reasons))


def slots_of_pair(experiment: Experiment, pair: int) -> tuple[Slot, ...]:
    """The slots of a pair that have begun, in their order; all of them when it is over."""
    size = 2 * experiment.plan.design.lanes
    return experiment.slots[size * pair : size * (pair + 1)]


def _mate_reason(slot: Slot, reason: str) -> str:
    return f"{MATE}: slot {slot.index}: {reason}"


def _without_second_period(
    experiment: Experiment, slot: Slot, reason: str, ended_at: float | None
) -> Experiment:
    at = slot.started_at if ended_at is None else ended_at
    lanes, why = slot.lanes, _mate_reason(slot, reason)
    arms = arms_of(experiment.seed, 2 * slot.pair + 1, lanes)
    for lane, arm in enumerate(arms):
        index = len(experiment.slots)
        never = Slot(index, arm, 0, at, ended_at=at, excluded=why, lane=lane, lanes=lanes)
        experiment = experiment.with_slot(never)
    return experiment


def _restarted_in(view: View) -> Callable[[Slot], bool]:
    """Whether a slot ran where the target restarted; everywhere when nobody knows where."""
    lanes = view.restarted_lanes
    return lambda slot: not lanes or slot.lanes == 1 or slot.lane in lanes


def _exclude_unjudged(
    experiment: Experiment,
    running: str,
    waiting: str,
    now: float,
    concerns: Callable[[Slot], bool] = lambda _slot: True,
) -> Experiment:
    """Without every pair that has a slot that runs or waits; the fault lies where it `concerns`."""
    begun = experiment.slots[-1].period + 1 if experiment.slots else 0
    for period in range(begun):
        lanes = experiment.plan.design.lanes
        # Read anew each time: an earlier period of the pair may have taken these along.
        slots = experiment.slots[period * lanes : (period + 1) * lanes]
        unjudged = tuple(slot for slot in slots if is_open(slot) or is_pending(slot))
        if not unjudged:
            continue
        reason = running if is_open(unjudged[0]) else waiting
        at_fault = tuple(filter(concerns, unjudged)) or unjudged
        experiment = exclude_slots(experiment, at_fault, reason, now)
    return experiment
