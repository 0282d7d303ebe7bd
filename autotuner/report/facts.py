"""What a report tells beyond the experiment's own fields; figures only, no words, no drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from autotuner.abtest.design import needed_pairs, smallest_size
from autotuner.abtest.exclusion import MATE
from autotuner.abtest.standing import Standing, looks_at, standing
from autotuner.domain.experiment import (
    Arm,
    Experiment,
    Guardrail,
    GuardrailLook,
    Look,
    Slot,
    SlotOutcome,
    Upkeep,
)
from autotuner.domain.measures import Measure, measure

# Chosen: effects from a quarter of the pair noise to four times it; beyond, nothing changes.
_POWER_SIZES = tuple(float(g) for g in np.geomspace(0.25, 4, 25))


@dataclass(frozen=True)
class Toll:
    """What the judged slots of an arm served. `suffered`: missed a target, or failed."""

    arm: Arm
    slots: int
    requests: int
    good: int
    failed: int
    counted_s: float

    @property
    def suffered(self) -> int:
        return self.requests - self.good

    @property
    def suffered_share(self) -> float:
        return self.suffered / self.requests if self.requests else math.nan


@dataclass(frozen=True)
class GuardrailFact:
    """A guardrail with what is known of it. `confidence`: that the margin is kept, 0..1."""

    guardrail: Guardrail
    measure: Measure
    look: GuardrailLook | None
    standing: Standing
    confidence: float

    @property
    def shift(self) -> float:
        """The margin as a difference, positive."""
        return self.measure.shift(self.guardrail.margin)


@dataclass(frozen=True)
class Power:
    """Pairs that a test needs for an effect (80% of such tests end by then).

    `sd`: of a pair's difference, as seen (`seen`) or as expected beforehand. `points`: effect in
    the outcome's units, pairs. `smallest_effect`: the least that fits into `budget_pairs`; NaN
    where nothing does.
    """

    sd: float
    seen: bool
    points: tuple[tuple[float, float], ...]
    budget_pairs: int
    smallest_effect: float


@dataclass(frozen=True)
class Exclusion:
    """Slots that do not count for one reason; `mates` fell with them."""

    reason: str
    slots: tuple[int, ...]
    mates: tuple[int, ...] = ()


def is_aa(experiment: Experiment) -> bool:
    return experiment.control == experiment.treatment


def toll(experiment: Experiment, arm: Arm) -> Toll:
    """Of all slots with an outcome, excluded ones too: what was served was served."""
    seen = [s.outcome for s in experiment.slots if s.arm is arm and s.outcome is not None]
    return Toll(
        arm,
        slots=len(seen),
        requests=sum(outcome.requests for outcome in seen),
        good=sum(outcome.good for outcome in seen),
        failed=sum(outcome.failed for outcome in seen),
        counted_s=math.fsum(outcome.counted_s for outcome in seen),
    )


def extra_suffering(experiment: Experiment) -> float:
    """Requests that suffered under the treatment beyond the control's share; NaN if unknown."""
    control, treatment = toll(experiment, Arm.CONTROL), toll(experiment, Arm.TREATMENT)
    return treatment.suffered - control.suffered_share * treatment.requests


def duration_s(experiment: Experiment, ended_at: float | None) -> float:
    """From the start to `ended_at` (the caller's clock), else over the slots seen so far."""
    if ended_at is not None:
        return max(0.0, ended_at - experiment.started_at)
    if not experiment.slots:
        return 0.0
    return max(slot_end(s, experiment) for s in experiment.slots) - experiment.slots[0].started_at


def slot_end(slot: Slot, experiment: Experiment) -> float:
    """When the slot ended; of one that was left open, the latest time known on that clock."""
    if slot.ended_at is not None:
        return slot.ended_at
    known = (t for s in experiment.slots for t in (s.started_at, s.counted_from, s.ended_at))
    return max(t for t in known if t is not None)


def mean_value(measure: Measure, outcomes: Iterable[SlotOutcome], takes: Upkeep) -> float:
    """The mean over slots, of those where it was measured; NaN where there is none."""
    values = [measure.value(outcome, takes) for outcome in outcomes]
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def harm_confidences(looks: Iterable[Look]) -> tuple[float, ...]:
    """The confidence that the treatment is worse, after each look."""
    return _confidences(look.log_e_harm for look in looks)


def kept_confidences(looks: Iterable[Look], name: str) -> tuple[float, ...]:
    """The confidence that a guardrail's margin is kept, after each look."""
    found = [next((g for g in look.guardrails if g.measure == name), None) for look in looks]
    return _confidences(-math.inf if g is None else g.log_e_kept for g in found)


def guardrail_facts(experiment: Experiment) -> tuple[GuardrailFact, ...]:
    return tuple(_guardrail_fact(experiment, guardrail) for guardrail in experiment.plan.guardrails)


def power(experiment: Experiment) -> Power:
    """From the noise of the counted pairs; from the plan's while fewer than two are counted."""
    plan, adjusted = experiment.plan, [pair.adjusted for pair in experiment.pairs]
    sd = float(np.std(adjusted, ddof=1)) if len(adjusted) > 1 else math.nan
    seen = sd > 0
    scale = sd if seen else plan.prior_sd
    most = measure(plan.outcome).span[1]
    points = tuple(
        (g * scale, needed_pairs(g, plan.alpha)) for g in _POWER_SIZES if g * scale <= most
    )
    smallest = smallest_size(plan) * scale
    fits = math.isfinite(smallest) and smallest <= most
    return Power(scale, seen, points, plan.max_pairs, smallest if fits else math.nan)


def exclusions(experiment: Experiment) -> tuple[Exclusion, ...]:
    """The reasons in the order of their first slot; equal ones together."""
    own: dict[str, tuple[list[int], list[int]]] = {}
    for slot in experiment.slots:
        if slot.excluded is not None:
            place = own.setdefault(_root_reason(slot.excluded), ([], []))
            place[slot.excluded.startswith(MATE)].append(slot.index)
    return tuple(Exclusion(why, tuple(a), tuple(b)) for why, (a, b) in own.items())


# As `abtest.exclusion` writes the reason of a slot that falls with another: "…: slot 3: why".


def _root_reason(text: str) -> str:
    return text.split(": ", 2)[-1] if text.startswith(f"{MATE}: slot ") else text


def _guardrail_fact(experiment: Experiment, guardrail: Guardrail) -> GuardrailFact:
    name, seen = guardrail.measure, looks_at(experiment, guardrail)
    kept = kept_confidences(experiment.looks, name)
    return GuardrailFact(
        guardrail,
        measure(name),
        seen[-1] if seen else None,
        standing(experiment, guardrail),
        kept[-1] if kept else 0.0,
    )


def _confidences(logs: Iterable[float]) -> tuple[float, ...]:
    """1 − anytime-valid p after each ln E: p = min(1, 1 / max E so far)."""
    best, found = 0.0, []
    for value in logs:
        best = max(best, value)  # NaN leaves it
        found.append(-math.expm1(-best))
    return tuple(found)
