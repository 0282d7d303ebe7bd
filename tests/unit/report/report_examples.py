"""Experiments of every kind that a report has to tell of, built by hand from drawn outcomes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from autotuner.abtest.evidence import Evidence
from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Design,
    Experiment,
    Guardrail,
    Pair,
    Phase,
    Plan,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.domain.knobs import Settings
from autotuner.domain.measures import measure

CONTROL, TREATMENT = Settings({"max_num_seqs": 8}), Settings({"max_num_seqs": 16})
BEGAN, FIRST = 1_790_000_000.0, 1_790_000_004.0  # the caller's clock and the target's
GUARDRAILS = (
    Guardrail("error_share", 0.02, 0.01),
    Guardrail("gap_p95", 0.25, 0.1),
    Guardrail("quality", 0.05, 0.03),
)
PLAN = Plan(slot_s=60, washout_min_s=4, washout_max_s=20, max_pairs=24, guardrails=GUARDRAILS)


@dataclass(frozen=True)
class Service:
    """The means of an arm's attainment and gap; failures as a share of requests."""

    attainment: float
    gap_s: float = 0.05
    failing: float = 0.0


def outcome(service: Service, rng: np.random.Generator, quality: float = math.nan) -> SlotOutcome:
    requests = int(rng.poisson(140))
    share = min(0.99, max(0.01, service.attainment + rng.normal(0, 0.05)))
    failed = int(rng.binomial(requests, service.failing))
    gap = service.gap_s * math.exp(rng.normal(0, 0.08))
    return SlotOutcome(
        requests=requests, good=int(rng.binomial(requests - failed, share)), failed=failed,
        straddlers=2, counted_s=55.0, ttft_p95_s=0.4, gap_p95_s=gap, e2el_mean_s=2.0,
        prompt_tokens=140 * requests, output_tokens=60 * requests, quality=quality,
    )  # fmt: skip


def drawn(
    pairs: int, control: Service, treatment: Service, plan: Plan = PLAN, seed: int = 5
) -> Experiment:
    """A test that still runs, after `pairs` pairs."""
    rng, lanes = np.random.default_rng(seed), plan.design.lanes
    test = Experiment(
        "exp-000123", "chat", CONTROL, TREATMENT, plan, seed, BEGAN, "ppo", "queue is long",
        phase=Phase.COUNTING,
    )  # fmt: skip
    at, coin = FIRST, False
    for period in range(2 * pairs):
        coin = bool(rng.integers(2)) if period % 2 == 0 else not coin
        washout_s = float(rng.uniform(4, 14))
        for lane in range(lanes):
            arm = Arm.TREATMENT if coin != bool(lane) else Arm.CONTROL
            served = outcome(treatment if arm is Arm.TREATMENT else control, rng, 0.97)
            index = lanes * period + lane
            counted = at + washout_s
            slot = Slot(index, arm, period + 7, at, counted, counted + 60, served)
            test = test.with_slot(replace(slot, lane=lane, lanes=lanes))
        at += washout_s + 60
    return with_looks(test)


def with_looks(test: Experiment) -> Experiment:
    """The experiment with the pairs that its slots give, and a look after each."""
    evidence, pairs, looks = Evidence.start(test.plan), [], []
    for index in sorted({slot.pair for slot in test.slots}):
        slots = [slot for slot in test.slots if slot.pair == index]
        if any(slot.excluded or slot.outcome is None for slot in slots):
            continue
        control, treatment = (
            next(s.outcome for s in slots if s.arm is arm and s.outcome) for arm in Arm
        )
        names = (test.plan.outcome, *(rail.measure for rail in test.plan.guardrails))
        seen = {name: measure(name).difference(control, treatment) for name in names}
        pairs.append(Pair(index, seen[test.plan.outcome], control, treatment))
        evidence = evidence.update(pairs[-1].adjusted, seen)
        looks.append(evidence.look())
    return replace(test, pairs=tuple(pairs), looks=tuple(looks))


def ended(test: Experiment, verdict: Verdict, reason: str) -> Experiment:
    """The experiment closed with the figures of its last look."""
    confidence, effect, low, high = 0.0, math.nan, -1.0, 1.0
    if test.looks:
        last = test.looks[-1]
        confidence, effect, low, high = last.confidence, last.effect, last.low, last.high
        if verdict is Verdict.HARMFUL:
            confidence = -math.expm1(-max(0.0, *(one.log_e_harm for one in test.looks)))
    return test.closed(Conclusion(verdict, reason, len(test.pairs), effect, low, high, confidence))


def excluding(test: Experiment, index: int, reason: str) -> Experiment:
    """The experiment without the pair of slot `index`."""
    pair = test.slots[index].pair
    for slot in [s for s in test.slots if s.pair == pair]:
        mate = f"its pair does not count: slot {index}: {reason}"
        why = reason if slot.index == index else mate
        test = test.with_slot(replace(slot, excluded=why))
    return with_looks(test)


def until_sure(test: Experiment) -> Experiment:
    """The experiment up to the pair that proves the benefit."""
    last = next(n for n, one in enumerate(test.looks) if one.confidence >= 1 - test.plan.alpha)
    slots = [slot for slot in test.slots if slot.pair <= test.pairs[last].index]
    return with_looks(replace(test, slots=tuple(slots)))


def accepted() -> Experiment:
    test = excluding(
        drawn(14, Service(0.70), Service(0.87)), 5, "too few requests (3, at least 10 are needed)"
    )
    test = until_sure(excluding(test, 16, "the target restarted in this slot"))
    return ended(test, Verdict.ACCEPTED, "the treatment is better")


def harmful() -> Experiment:
    test = drawn(9, Service(0.9), Service(0.6, gap_s=0.12, failing=0.02))
    return ended(test, Verdict.HARMFUL, "the treatment is worse")


def running() -> Experiment:
    test = drawn(4, Service(0.7), Service(0.75))
    at = max(slot.ended_at or 0 for slot in test.slots)
    return test.with_slot(Slot(len(test.slots), Arm.CONTROL, 40, at, at + 6))


def without_pairs() -> Experiment:
    """Planned, and nothing more."""
    return replace(drawn(0, Service(0.7), Service(0.7)), phase=Phase.PLANNED)


def all_excluded() -> Experiment:
    test = drawn(3, Service(0.7), Service(0.7))
    for index in (0, 2, 4):
        test = excluding(test, index, "too few requests (0, at least 10 are needed)")
    return ended(test, Verdict.INCONCLUSIVE, "3 pairs in a row could not be counted")


def split() -> Experiment:
    plan = replace(PLAN, design=Design.SPLIT, outcome="gap_p95", guardrails=GUARDRAILS[:1])
    test = until_sure(drawn(20, Service(0.8, gap_s=0.06), Service(0.8, gap_s=0.05), plan))
    return ended(test, Verdict.ACCEPTED, "the treatment is better")


def aa() -> Experiment:
    test = replace(drawn(24, Service(0.8), Service(0.8)), treatment=CONTROL)
    return ended(test, Verdict.INCONCLUSIVE, "the budget of 24 pairs is used up")


EXAMPLES = {
    build.__name__: build
    for build in (accepted, harmful, running, without_pairs, all_excluded, split, aa)
}
