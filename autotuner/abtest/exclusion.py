"""Which pairs do not count: rules fixed before a test, blind to the arm and to what it served."""

from __future__ import annotations

from dataclasses import replace

from autotuner.abtest.design import arm_of
from autotuner.abtest.guardrails import RESTARTED
from autotuner.abtest.view import View
from autotuner.domain.experiment import Experiment, Phase, Slot
from autotuner.domain.ports import LiveSettings


def is_open(slot: Slot | None) -> bool:
    """Whether the slot is the one that runs."""
    return slot is not None and slot.ended_at is None and slot.excluded is None


def is_pending(slot: Slot) -> bool:
    """Whether the slot has ended and waits for its last requests."""
    return slot.ended_at is not None and slot.outcome is None and slot.excluded is None


def exclude_pair(
    experiment: Experiment, slot: Slot, reason: str, ended_at: float | None
) -> Experiment:
    """The experiment with the pair of `slot` not counted, because of `reason` in that slot.

    A slot of the pair that runs ends at `ended_at` (None while the target does not answer); a
    second slot that has not begun is entered as never run (generation 0).
    """
    was_running = is_open(experiment.current_slot) and (
        experiment.current_slot is not None and experiment.current_slot.pair == slot.pair
    )
    for mate in [s for s in experiment.slots if s.pair == slot.pair and s.excluded is None]:
        why = reason if mate.index == slot.index else _mate_reason(slot, reason)
        ended = mate.ended_at if mate.ended_at is not None else ended_at
        experiment = experiment.with_slot(replace(mate, excluded=why, ended_at=ended))
    if len(experiment.slots) % 2 and experiment.slots[-1].pair == slot.pair:
        experiment = experiment.with_slot(_never_run(experiment, slot, reason, ended_at))
    if was_running and experiment.phase is Phase.WASHOUT:
        return experiment.to(Phase.COUNTING)
    return experiment


def exclude_disturbed(experiment: Experiment, view: View, live: LiveSettings) -> Experiment:
    """The experiment without the pairs that this cycle's disturbances spoiled."""
    if view.boot_changed:
        lost = "its last requests were lost when the target restarted"
        return _exclude_unjudged(experiment, f"{RESTARTED} in this slot", lost, live.now)
    if view.overrun:
        lost = "exposures were overwritten before they were read"
        return _exclude_unjudged(experiment, lost, lost, live.now)
    current = experiment.current_slot
    if current is not None and is_open(current) and live.generation != current.generation:
        reason = (
            f"somebody changed the settings in this slot (generation {current.generation} "
            f"became {live.generation})"
        )
        return exclude_pair(experiment, current, reason, live.now)
    return experiment


def excluded_in_a_row(experiment: Experiment) -> tuple[str, ...]:
    """The reasons of the last pairs that did not count, back to the last one that did.

    A pair that still waits for its last requests neither adds to the row nor ends it.
    """
    reasons: list[str] = []
    counted = {pair.index for pair in experiment.pairs}
    for index in range((len(experiment.slots) - 1) // 2, -1, -1):
        if index in counted:
            break
        why = [s.excluded for s in experiment.slots[2 * index : 2 * index + 2] if s.excluded]
        if why:
            own = [text for text in why if not text.startswith(_MATE)]
            reasons.append((own or why)[0])
    return tuple(reversed(reasons))


_MATE = "its pair does not count"


def _mate_reason(slot: Slot, reason: str) -> str:
    return f"{_MATE}: slot {slot.index}: {reason}"


def _never_run(experiment: Experiment, slot: Slot, reason: str, ended_at: float | None) -> Slot:
    index = len(experiment.slots)
    at = slot.started_at if ended_at is None else ended_at
    arm = arm_of(experiment.seed, index)
    return Slot(index, arm, 0, at, ended_at=at, excluded=_mate_reason(slot, reason))


def _exclude_unjudged(experiment: Experiment, running: str, waiting: str, now: float) -> Experiment:
    for slot in experiment.slots:
        unjudged = experiment.slots[slot.index]  # a mate may have taken it along
        if is_open(unjudged):
            experiment = exclude_pair(experiment, unjudged, running, now)
        elif is_pending(unjudged):
            experiment = exclude_pair(experiment, unjudged, waiting, now)
    return experiment
