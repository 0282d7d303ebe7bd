"""Engineering limits that end a test before any statistics; never whether a change is better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from autotuner.domain.experiment import Arm, HardLimits, Slot, SlotOutcome
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome

# Chosen: one or two failures in a short slot say nothing about a rate.
_MIN_FAILURES = 3
# Chosen: the treatment may be unlucky once.
_MAX_RESTARTS = 1
RESTARTED = "the target restarted"


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
        or _tail_breach(treatment[-2:], control, limits, slo)
        or _restart_breach(slots)
    )


def running_breach(
    slots: Sequence[Slot],
    exposures: Iterable[Exposure],
    in_flight: Mapping[int, int],
    limits: HardLimits,
) -> str | None:
    """The error limit on a treatment slot that still runs, so that no slot has to be sat out.

    Unfinished requests count as good: failures are often the fastest to finish.
    """
    slot = slots[-1]
    if slot.arm is not Arm.TREATMENT or slot.generation <= 0:
        return None
    finished = [
        r
        for r in exposures
        if r.generation_start == slot.generation == r.generation_end
        and r.arrival >= slot.started_at
        and r.outcome is not Outcome.ABORT
    ]
    failed = sum(r.failed for r in finished)
    requests = len(finished) + in_flight.get(slot.generation, 0)
    control = _outcomes(slots, Arm.CONTROL)
    allowed = _allowed_share(control[-1] if control else None, limits)
    return _share_text(failed, requests, allowed, limits)


def _outcomes(slots: Sequence[Slot], arm: Arm) -> list[SlotOutcome]:
    return [slot.outcome for slot in slots if slot.arm is arm and slot.outcome is not None]


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


def _tail_breach(
    last_two: Sequence[SlotOutcome],
    control: Sequence[SlotOutcome],
    limits: HardLimits,
    slo: SLO,
) -> str | None:
    if len(last_two) < 2 or any(outcome.requests < limits.min_requests for outcome in last_two):
        return None
    # The worst control slot: one slot's P95 rests on a few requests, and the control's own bad
    # moments must not be held against the treatment.
    ttft_control = _worst([outcome.ttft_p95_s for outcome in control])
    gap_control = _worst([outcome.gap_p95_s for outcome in control])
    ttfts = [outcome.ttft_p95_s for outcome in last_two]
    gaps = [outcome.gap_p95_s for outcome in last_two]
    return _tail_text("TTFT", ttfts, ttft_control, slo.ttft_s, limits.tail_factor) or _tail_text(
        "largest gap", gaps, gap_control, slo.gap_max_s, limits.tail_factor
    )


def _worst(values: Sequence[float]) -> float:
    return max((value for value in values if math.isfinite(value)), default=math.nan)


def _tail_text(
    name: str, seen_s: Sequence[float], control_s: float, slo_s: float | None, factor: float
) -> str | None:
    known = [value for value in (control_s, slo_s) if value is not None and math.isfinite(value)]
    # NaN compares as False: a slot that served nothing is no breach of a tail.
    if not known or not all(value > factor * max(known) for value in seen_s):
        return None
    return (
        f"P95 of {name} was {seen_s[0]:.3g} and {seen_s[1]:.3g} s in two treatment slots running "
        f"(the limit is {factor * max(known):.3g} s)"
    )


def _restart_breach(slots: Sequence[Slot]) -> str | None:
    restarts = dict.fromkeys(Arm, 0)
    for slot in slots:
        if slot.excluded is not None and slot.excluded.startswith(RESTARTED):
            restarts[slot.arm] += 1
    if restarts[Arm.CONTROL] or restarts[Arm.TREATMENT] <= _MAX_RESTARTS:
        return None
    return f"{RESTARTED} in {restarts[Arm.TREATMENT]} treatment slots and in no control slot"
