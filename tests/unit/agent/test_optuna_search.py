from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autotuner.agent.baselines import RandomProposer
from autotuner.agent.optuna_search import gp, tpe
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import PastTrial, ProposalContext, Proposer, Workload
from autotuner.domain.slo import SLO

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (1, 2, 4, 8, 16, 32, 64)),
        Knob("max_num_batched_tokens", (32, 64, 128, 256, 512, 1024, 2048)),
        Knob("schedule_policy", ("fcfs", "length-grouped")),
        Knob("memory_efficient", (False, True)),
    )
)
START = SPACE.at((6, 6, 0, 1))
both = pytest.mark.parametrize("make", [tpe, gp])


def truth(settings: Settings) -> float:
    """A hill with its top at 8 sequences and 128 tokens, length-grouped."""
    seqs, tokens, policy, _ = SPACE.indices(settings)
    return 0.9 - 0.08 * abs(seqs - 3) - 0.08 * abs(tokens - 2) - 0.1 * (1 - policy)


def context(*past: PastTrial, seed: int = 0) -> ProposalContext:
    return ProposalContext(SPACE, START, SLO(1.0), Workload(2.0), None, 0.3, past=past, seed=seed)


def trial(settings: Settings, noise: float = 0.0) -> PastTrial:
    effect = truth(settings) - truth(START) + noise
    return PastTrial(START, settings, effect, Verdict.REJECTED, effect - 0.1, effect + 0.1)


def measured(n: int, seed: int = 0) -> tuple[PastTrial, ...]:
    rng = np.random.default_rng(seed)
    places = [tuple(int(rng.integers(len(k.levels))) for k in SPACE) for _ in range(n)]
    return tuple(trial(SPACE.at(p), float(rng.normal(0, 0.02))) for p in places)


def mean_truth(proposer: Proposer, contexts: list[ProposalContext]) -> float:
    offered = [proposer.propose(context) for context in contexts]
    return float(np.mean([truth(p.settings) for p in offered if p is not None]))


@both
def test_it_learns_from_the_past_what_random_does_not(make: Callable[[], Proposer]) -> None:
    contexts = [context(*measured(24, seed), seed=seed) for seed in range(6)]
    assert mean_truth(make(), contexts) > mean_truth(RandomProposer(), contexts) + 0.15


@both
def test_it_learns_from_trials_against_former_incumbents_too(make: Callable[[], Proposer]) -> None:
    # All tests were made against others; one chain joins them to what runs now.
    former = SPACE.at((5, 5, 0, 1))
    moved = [
        replace(t, control=former, effect=truth(t.treatment) - truth(former))
        for t in measured(24)
        if t.treatment != former
    ]
    chain = trial(former)
    joined = [context(chain, *moved, seed=seed) for seed in range(6)]
    apart = [context(*moved, seed=seed) for seed in range(6)]
    assert mean_truth(make(), joined) > mean_truth(make(), apart) + 0.15


@both
def test_few_trials_are_too_few_and_it_says_so(make: Callable[[], Proposer]) -> None:
    proposal = make().propose(context(*measured(2)))
    assert proposal is not None
    assert "3 settings known" in proposal.reason
    assert "too few" in proposal.reason
    later = make().propose(context(*measured(20)))
    assert later is not None
    assert "expects most of this" in later.reason
    assert "the best of them +" in later.reason


@both
def test_it_moves_towards_what_lies_beyond_the_step(make: Callable[[], Proposer]) -> None:
    tight = KnobSpace(tuple(replace(knob, max_step=2) for knob in SPACE))
    far = [replace(context(*measured(30, s), seed=s), space=tight) for s in range(5)]
    offered = [make().propose(one) for one in far]
    moves = [SPACE.indices(p.settings)[1] for p in offered if p is not None]
    assert all(4 <= place <= 6 for place in moves)
    assert np.mean(moves) < 5  # the top lies at 2


def test_harm_does_not_attract_even_with_a_gain() -> None:
    top = SPACE.at((3, 2, 1, 1))
    good = (*measured(20), trial(top))
    bad = (*good[:-1], replace(good[-1], verdict=Verdict.HARMFUL))

    def near(past: tuple[PastTrial, ...]) -> float:
        offered = [tpe().propose(context(*past, seed=seed)) for seed in range(12)]
        places = [SPACE.indices(p.settings) for p in offered if p is not None]
        return float(np.mean([abs(a - 3) + abs(b - 2) for a, b, _, _ in places]))

    assert near(bad) > near(good)


def test_it_says_nothing_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for make in (tpe, gp):
            make().propose(context(*measured(12)))
    assert caplog.records == []


def test_no_warning_is_given_by_the_samplers(recwarn: pytest.WarningsRecorder) -> None:
    for make in (tpe, gp):
        make().propose(context(*measured(12)))
    assert list(recwarn) == []
