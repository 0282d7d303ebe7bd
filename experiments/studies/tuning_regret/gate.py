"""The study's A/B gate: pairs drawn from the truth, judged by the code that judges live tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from autotuner.abtest.analysis import evidence
from autotuner.abtest.conclusion import at_budget_end, early_conclusion
from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    Pair,
    Plan,
    Slot,
    SlotOutcome,
)
from autotuner.domain.knobs import Settings

# Chosen: a slot of 100 requests, as the daemon plans them where the traffic allows it.
PLAN = Plan(slot_s=60.0, max_pairs=30, prior_sd=0.05, min_requests_per_slot=10)
REQUESTS = 100


@dataclass(frozen=True)
class Served:
    """How settings serve: true attainment, and the variance of a slot beyond a coin's.

    `overdispersion` is the correlation of two requests of one slot (0: none).
    """

    attainment: float
    overdispersion: float

    def slot(self, rng: np.random.Generator) -> int:
        """The good requests among REQUESTS of one slot: a beta-binomial draw."""
        p = min(max(self.attainment, 1e-6), 1 - 1e-6)
        if self.overdispersion <= 1e-4:
            return int(rng.binomial(REQUESTS, p))
        size = 1 / self.overdispersion - 1
        return int(rng.binomial(REQUESTS, rng.beta(p * size, (1 - p) * size)))


@dataclass(frozen=True)
class Tested:
    """An ended test, and what its treatment cost while it ran.

    `lost`: attainment points below the control's truth, summed over the treatment's slots.
    """

    conclusion: Conclusion
    pairs: int
    lost: float


def tested(
    control: tuple[Settings, Served], treatment: tuple[Settings, Served], seed: int
) -> Tested:
    """One experiment from its first pair to its verdict."""
    rng = np.random.default_rng(seed)
    experiment = Experiment("study", "study", control[0], treatment[0], PLAN, seed, 0.0)
    conclusion: Conclusion | None = None
    for pair in range(PLAN.max_pairs):
        experiment = _with_pair(experiment, pair, control[1].slot(rng), treatment[1].slot(rng))
        conclusion = early_conclusion(experiment, None)
        if conclusion is not None:
            break
    conclusion = conclusion or at_budget_end(experiment, "the budget is used up")
    pairs = len(experiment.pairs)
    worse = max(0.0, control[1].attainment - treatment[1].attainment)
    return Tested(conclusion, pairs, worse * pairs)


def _with_pair(experiment: Experiment, index: int, control: int, treatment: int) -> Experiment:
    slots = list(_slots(index, control, treatment))
    outcomes = {slot.arm: slot.outcome for slot in slots}
    before, after = outcomes[Arm.CONTROL], outcomes[Arm.TREATMENT]
    assert before is not None
    assert after is not None
    pair = Pair(index, after.attainment - before.attainment, before, after)
    grown = replace(
        experiment,
        slots=(*experiment.slots, *slots),
        pairs=(*experiment.pairs, pair),
    )
    return replace(grown, looks=(*grown.looks, evidence(grown).look()))


def _slots(pair: int, control: int, treatment: int) -> Iterator[Slot]:
    for place, (arm, good) in enumerate(((Arm.CONTROL, control), (Arm.TREATMENT, treatment))):
        yield Slot(2 * pair + place, arm, 1, 0.0, 0.0, PLAN.slot_s, _outcome(good))


def _outcome(good: int) -> SlotOutcome:
    return SlotOutcome(REQUESTS, good, 0, 0, PLAN.slot_s, 0.1, 0.01, 1.0, REQUESTS, REQUESTS)
