from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np

from autotuner.agent.baselines import HillClimbProposer
from autotuner.agent.des import simulate
from autotuner.agent.evaluation import (
    SPACE,
    SPACES,
    START,
    Evaluation,
    HeldOut,
    play,
    step_records,
)
from autotuner.agent.ladder import SpaceLadder
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import CPU_PRIOR, StepTable
from autotuner.agent.traffic import SampleMix, Traffic, poisson_row
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import Proposal, ProposalContext, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import StepRecord

GRID = [SPACE.at(place) for place in product(*(range(len(k.levels)) for k in SPACE))]


def sloping() -> HeldOut:
    """Attainment falls with every level of the budget, from 0.9 down."""
    budget = SPACE.knobs[1]
    truth = {s: 0.9 - 0.05 * budget.index(s["max_num_batched_tokens"]) for s in GRID}
    return HeldOut(SLO(1.0), Workload(1.0, [10], [5]), lambda _: (), truth)


class Fixed:
    def __init__(self, settings: Settings | None) -> None:
        self.settings = settings
        self.seen: list[ProposalContext] = []

    def propose(self, context: ProposalContext) -> Proposal | None:
        self.seen.append(context)
        return None if self.settings is None else Proposal(self.settings, "fixed", "")


def test_a_better_candidate_becomes_the_incumbent() -> None:
    better = START.with_values(max_num_batched_tokens=32)
    proposer = Fixed(better)
    regret = play(proposer, sloping(), 2, seed=0)
    np.testing.assert_allclose(regret, [0.4, 0.0, 0.0], atol=1e-12)
    assert proposer.seen[1].incumbent == better
    assert [t.verdict for t in proposer.seen[1].past] == ["ACCEPTED"]


def test_one_that_is_not_better_does_not() -> None:
    proposer = Fixed(START.with_values(max_num_seqs=2))
    np.testing.assert_allclose(play(proposer, sloping(), 2, seed=0), [0.4, 0.4, 0.4])
    assert [t.verdict for t in proposer.seen[1].past] == ["REJECTED"]
    np.testing.assert_allclose(play(Fixed(None), sloping(), 1, seed=0), [0.4, 0.4])


def test_hill_climbing_gets_there_in_the_end() -> None:
    assert play(HillClimbProposer(), sloping(), 40, seed=0)[-1] < 0.01


def test_the_table_and_the_score_tell_the_same() -> None:
    told = Evaluation(
        "agent-x", 5, {"ppo": np.array([[0.4, 0.1], [0.2, 0.0]]), "random": np.ones((2, 2))}
    )
    assert told.score(1) == {
        "metric": "mean regret after 1 proposals",
        "systems": 2,
        "seed": 5,
        "ppo": 0.05,
        "random": 1.0,
    }
    text = str(told)
    assert "agent-x" in text
    assert "2 held-out systems" in text
    assert "0.050" in text
    assert "(1.000)" in text


def test_each_space_has_its_own_table() -> None:
    told = str(Evaluation("a", 5, {"ppo": np.array([[0.4], [0.2]])}, ["scheduling", "engine"]))
    assert "2 held-out systems\n" in told
    assert "1 held-out systems, engine knobs" in told
    assert "0.400" in told
    assert "engine knobs" not in str(Evaluation("a", 5, {"ppo": np.ones((2, 1))}, ["engine"] * 2))


def test_the_figures_are_told_as_plain_values() -> None:
    told = Evaluation("agent-x", 5, {"ppo": np.array([[0.4, 0.1], [0.2, 0.0]])}).as_dict()
    assert json.loads(json.dumps(told)) == {
        "agent": "agent-x",
        "seed": 5,
        "systems": 2,
        "regret": {"ppo": {"mean": [0.3, 0.05], "median": [0.3, 0.05]}},
    }


def test_every_start_is_a_place_of_its_space() -> None:
    for space, start in SPACES.values():
        space.validate(start)
        assert SpaceLadder.of(space, start).movable


class Noted:
    """Notes which settings the step log was read under."""

    def __init__(self) -> None:
        self.logs: list[Settings] = []

    def steps(self, settings: Settings) -> tuple[StepRecord, ...]:
        self.logs.append(settings)
        return ()


def test_the_step_log_is_that_of_the_incumbent() -> None:
    noted, system = Noted(), sloping()
    better = START.with_values(max_num_batched_tokens=32)
    play(Fixed(better), replace(system, steps=noted.steps), 2, seed=0)
    assert noted.logs == [START, better]


def test_step_records_leave_idle_steps_out() -> None:
    row = poisson_row(np.random.default_rng(0), 1.0, 20.0, SampleMix((100,), (10,)))
    run = simulate(
        Traffic.stack([row]),
        ScheduleTable.of([Schedule()]),
        StepTable.of([CPU_PRIOR]),
        cap_s=100.0,
        trace=True,
    )
    assert run.trace is not None
    records = list(step_records(run.trace, 0))
    assert all(r.step_s > 0 and r.decode_seqs + r.prefill_tokens > 0 for r in records)
    assert sum(r.prefill_tokens for r in records) == 100 * len(row[0])
