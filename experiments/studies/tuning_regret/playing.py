"""One proposer tuning one held-out system: proposals, gated experiments, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import PastTrial, ProposalContext, Proposer
from autotuner.domain.telemetry import StepRecord
from experiments.studies.tuning_regret.gate import REQUESTS, Tested, tested
from experiments.studies.tuning_regret.truth import SPACE, START, HeldOut

HARM = 0.05  # a candidate whose truth is this much below the incumbent's is harmful
SLOTS = 1200  # chosen: as many as 40 experiments of 15 pairs take
ASKS = 3  # asked again with another seed before a proposer counts as resting


@dataclass(frozen=True)
class Played:
    """One run. Lists go from 0 experiments on; a proposer that rests keeps what it has.

    `incumbent`: regret of the settings in force; `tried`: regret of the best settings that were in
    force or under test so far. `lost`: points below the incumbent's attainment in tests, summed
    over slots. `forgone`: below the best of the grid, summed over the first SLOTS slots, whoever
    served: what was not found in time counts as much as what tests cost.
    """

    incumbent: tuple[float, ...]
    tried: tuple[float, ...]
    experiments: int
    harmful: int
    accepted: int
    pairs: int
    lost: float
    forgone: float


def play(proposer: Proposer, system: HeldOut, budget: int, seed: int) -> Played:
    """`budget` experiments, each a proposal and its A/B test."""
    rng = np.random.default_rng(seed)
    incumbent, past, held = START, list[PastTrial](), set[str]()
    steps = system.steps(incumbent, seed)
    best = system.truth[incumbent]
    regrets, tries = [system.best - best], [system.best - best]
    harmful = accepted = pairs = 0
    lost, served = 0.0, list[float]()  # regret of what served in each slot
    for number in range(budget):
        candidate = _candidate(proposer, system, incumbent, past, held, steps, seed, number, rng)
        if candidate is None:
            break
        test = tested(
            (incumbent, system.served(incumbent)),
            (candidate, system.served(candidate)),
            int(rng.integers(2**31)),
        )
        past.append(_remembered(incumbent, candidate, test, number))
        served += [system.best - system.truth[s] for s in (incumbent, candidate)] * test.pairs
        harmful += system.truth[candidate] < system.truth[incumbent] - HARM
        pairs, lost = pairs + test.pairs, lost + test.lost
        best = max(best, system.truth[candidate])
        if test.conclusion.verdict is Verdict.HARMFUL:
            held.add(candidate.digest)
        if test.conclusion.verdict is Verdict.ACCEPTED:
            accepted += 1
            incumbent = candidate
            steps = system.steps(incumbent, seed + number + 1)
        regrets.append(system.best - system.truth[incumbent])
        tries.append(system.best - best)
    made = len(regrets) - 1
    forgone = sum(served[:SLOTS]) + max(0, SLOTS - len(served)) * regrets[-1]
    padding = budget - made
    return Played(
        (*regrets, *regrets[-1:] * padding),
        (*tries, *tries[-1:] * padding),
        made,
        harmful,
        accepted,
        pairs,
        lost,
        forgone,
    )


def _candidate(
    proposer: Proposer,
    system: HeldOut,
    incumbent: Settings,
    past: list[PastTrial],
    held: set[str],
    steps: tuple[StepRecord, ...],
    seed: int,
    number: int,
    rng: np.random.Generator,
) -> Settings | None:
    for ask in range(ASKS):
        # What the daemon sees before a proposal: some slots' worth of the incumbent's requests.
        slots = [system.served(incumbent).slot(rng) for _ in range(4)]
        context = ProposalContext(
            space=SPACE,
            incumbent=incumbent,
            slo=system.slo,
            workload=system.workload,
            window=None,
            attainment=sum(slots) / (REQUESTS * len(slots)),
            steps=steps,
            past=tuple(past),
            quarantined=frozenset(held),
            seed=seed * 10_000 + number * 10 + ask,
        )
        proposal = proposer.propose(context)
        if proposal is not None:
            return proposal.settings
    return None


def _remembered(control: Settings, treatment: Settings, test: Tested, number: int) -> PastTrial:
    end = test.conclusion
    return PastTrial(
        control, treatment, end.effect, end.verdict, end.low, end.high, id=f"study-{number}"
    )
