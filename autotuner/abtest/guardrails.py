"""Engineering limits that end a test before any statistics; never whether a change is better."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from autotuner.abtest.outcome import in_lane, slot_outcome
from autotuner.abtest.readings import memory_events, temperatures
from autotuner.abtest.view import View
from autotuner.domain.experiment import Arm, Experiment, HardLimits, Slot, SlotOutcome
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Outcome

# Chosen: one or two failures in a short slot say nothing about a rate.
_MIN_FAILURES = 3
# Chosen: the treatment may be unlucky once.
_MAX_RESTARTS = 1
RESTARTED = "the target restarted"
Time = Callable[[SlotOutcome], float]
_WHOLE = "whole-request time"


def breach(slots: Sequence[Slot], limits: HardLimits, slo: SLO) -> str | None:
    """Why the treatment must go at once, judged from the slots with an outcome; None if all hold.

    A treatment slot's error share beyond the limit and the control's; a tail far beyond the SLO
    and the control's in the last two treatment slots; restarts under the treatment only.
    """
    treatment = _outcomes(slots, Arm.TREATMENT)
    control = _outcomes(slots, Arm.CONTROL)
    last = control[-1] if control else None
    return (
        (_error_breach(treatment[-1], last, limits) if treatment else None)
        or _tail_breach(slots, limits, slo)
        or _restart_breach(slots)
    )


def running_breach(experiment: Experiment, view: View, slo: SLO) -> str | None:
    """The limits on a treatment that runs now, so that no slot has to be sat out.

    Memory and temperature in the last reading, errors among the requests that have finished, and
    the tail in its second slot. `view.live` must be there.
    """
    for slot in experiment.current_period:
        if slot.arm is Arm.TREATMENT and slot.ended_at is None and slot.generation > 0:
            found = (
                _memory_breach(experiment, view)
                or _temperature_breach(experiment, view)
                or _running_errors(experiment, slot, view)
                or _running_tail(experiment, slot, view, slo)
            )
            if found is not None:
                return found
    return None


def _outcomes(slots: Sequence[Slot], arm: Arm) -> list[SlotOutcome]:
    return [slot.outcome for slot in slots if slot.arm is arm and slot.outcome is not None]


# ---- memory and temperature
def _memory_breach(experiment: Experiment, view: View) -> str | None:
    by_arm = _by_arm(experiment.slots, memory_events(view.readings))
    events = sum(by_arm[Arm.TREATMENT])
    allowed = max(experiment.plan.limits.max_out_of_memory, sum(by_arm[Arm.CONTROL]))
    if events <= allowed:
        return None
    times = "once" if events == 1 else f"{events:.0f} times"
    return f"the target ran out of memory {times} under the treatment (the limit is {allowed:.0f})"


def _temperature_breach(experiment: Experiment, view: View) -> str | None:
    limit_c = experiment.plan.limits.max_temperature_c
    too_hot = [(at, heat) for at, heat in temperatures(view.readings) if heat > limit_c]
    by_arm = _by_arm(experiment.slots, too_hot)
    hottest, allowed = max(by_arm[Arm.TREATMENT], default=0), max((limit_c, *by_arm[Arm.CONTROL]))
    if hottest <= allowed:
        return None
    return (
        f"the hottest device reached {hottest:.0f} °C under the treatment "
        f"(the limit is {allowed:.0f} °C)"
    )


def _by_arm(
    slots: Sequence[Slot], seen: Sequence[tuple[float, float]]
) -> dict[Arm, tuple[float, ...]]:
    """What was seen by the arm that ran at the time; what was seen before the first slot is none's.

    A gauge of the whole target can't tell two lanes apart: in doubt it was the treatment. Times
    are those of readings: one that came as its slot ended still speaks for that slot.
    """
    begun = [slot for slot in slots if slot.lane == 0 and slot.generation > 0]
    starts = [slot.started_at for slot in begun]
    found: dict[Arm, tuple[float, ...]] = dict.fromkeys(Arm, ())
    for at, value in seen:
        place = bisect.bisect_left(starts, at) - 1
        if place >= 0:
            arm = begun[place].arm if begun[place].lanes == 1 else Arm.TREATMENT
            found[arm] = (*found[arm], value)
    return found


# ---- errors
def _running_errors(experiment: Experiment, slot: Slot, view: View) -> str | None:
    """Unfinished requests count as good: failures are often the fastest to finish."""
    finished = [
        r
        for r in view.exposures
        if r.generation_start == slot.generation == r.generation_end
        and in_lane(slot, r.lane)
        and r.arrival >= slot.started_at
        and r.outcome is not Outcome.ABORT
    ]
    failed = sum(r.failed for r in finished)
    unfinished = view.unfinished_of(slot)
    control = _outcomes(experiment.slots, Arm.CONTROL)
    limits = experiment.plan.limits
    allowed = _allowed_share(control[-1] if control else None, limits)
    return _share_text(failed, len(finished) + unfinished, allowed, limits)


def _error_breach(
    treatment: SlotOutcome, control: SlotOutcome | None, limits: HardLimits
) -> str | None:
    allowed = _allowed_share(control, limits)
    return _share_text(treatment.failed, treatment.requests, allowed, limits)


def _allowed_share(control: SlotOutcome | None, limits: HardLimits) -> float:
    return max(limits.max_error_share, control.error_share if control is not None else 0.0)


def _share_text(failed: int, requests: int, allowed: float, limits: HardLimits) -> str | None:
    if requests < limits.min_requests or failed < _MIN_FAILURES or failed <= allowed * requests:
        return None
    return (
        f"{failed} of {requests} requests failed under the treatment "
        f"({failed / requests:.1%}; the limit is {allowed:.1%})"
    )


# ---- tails
def _running_tail(experiment: Experiment, slot: Slot, view: View, slo: SLO) -> str | None:
    """What has finished is what was fast: a tail beyond the limit can only get longer."""
    if slot.counted_from is None or view.live is None:
        return None
    so_far = slot_outcome(view, slot, view.live.now, experiment.plan, slo)
    slots = experiment.with_slot(replace(slot, outcome=so_far)).slots
    return _tail_breach(slots, experiment.plan.limits, slo)


def _tail_breach(slots: Sequence[Slot], limits: HardLimits, slo: SLO) -> str | None:
    last_two = _outcomes(slots, Arm.TREATMENT)[-2:]
    if len(last_two) < 2 or any(outcome.requests < limits.min_requests for outcome in last_two):
        return None
    times: tuple[tuple[str, float | None, Time], ...] = (
        ("TTFT", slo.ttft_s, lambda o: o.ttft_p95_s),
        ("the largest gap", slo.gap_max_s, lambda o: o.gap_p95_s),
        (_WHOLE, slo.e2el_s, lambda o: o.e2el_p95_s),
    )
    for name, slo_s, p95_s in times:
        if slo_s is None and name == _WHOLE:
            continue  # long answers are then nobody's complaint
        bar_s = _bar_s(slots, math.nan if slo_s is None else slo_s, p95_s, limits.tail_factor)
        found = _tail_text(name, [p95_s(o) for o in last_two], bar_s, limits.tail_factor)
        if found is not None:
            return found
    return None


def _bar_s(slots: Sequence[Slot], slo_s: float, p95_s: Time, factor: float) -> float:
    """The larger of the SLO and the worst control slot; NaN without either.

    The worst, since one slot's P95 rests on a few requests, and the control's own bad moments must
    not be held against the treatment. But a control slot that comes, in its lane, right after a
    treatment slot beyond the limit serves the queue that was left to it. As long as it is faster
    than that slot it says nothing: it would raise the bar by what the treatment did.
    """
    bar_s, left_s = slo_s, dict[int, float]()
    for slot in slots:
        if slot.outcome is None:
            continue
        seen_s = p95_s(slot.outcome)
        if slot.arm is Arm.CONTROL and seen_s >= left_s.get(slot.lane, 0.0):
            bar_s = max(seen_s, bar_s if math.isfinite(bar_s) else seen_s)
        beyond = slot.arm is Arm.TREATMENT and seen_s > factor * bar_s
        left_s[slot.lane] = seen_s if beyond else 0.0
    return bar_s


def _tail_text(name: str, seen_s: Sequence[float], bar_s: float, factor: float) -> str | None:
    # NaN compares as False: a slot that served nothing is no breach of a tail.
    if not all(value > factor * bar_s for value in seen_s):
        return None
    return (
        f"P95 of {name} was {seen_s[0]:.3g} and {seen_s[1]:.3g} s in two treatment slots running "
        f"(the limit is {factor * bar_s:.3g} s)"
    )


# ---- restarts
def _restart_breach(slots: Sequence[Slot]) -> str | None:
    restarts = dict.fromkeys(Arm, 0)
    for slot in slots:
        if slot.excluded is not None and slot.excluded.startswith(RESTARTED):
            restarts[slot.arm] += 1
    if restarts[Arm.CONTROL] or restarts[Arm.TREATMENT] <= _MAX_RESTARTS:
        return None
    return f"{RESTARTED} in {restarts[Arm.TREATMENT]} treatment slots and in no control slot"
