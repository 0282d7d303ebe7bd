from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from autotuner.agent.baselines import GridProposer, HillClimbProposer, RandomProposer
from autotuner.agent.relay import Relay
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import PastTrial, Proposal, ProposalContext, Proposer, Workload
from autotuner.domain.slo import SLO

SPACE = KnobSpace(
    (
        Knob("batch_timeout_ms", (0, 10, 50)),
        Knob("max_num_seqs", (1, 2, 4, 8, 16, 32, 64)),
        Knob("max_num_batched_tokens", (64, 256, 1024)),
    )
)
START = SPACE.at((0, 6, 2))


def context(incumbent: Settings = START, *past: PastTrial, seed: int = 0) -> ProposalContext:
    return ProposalContext(
        SPACE, incumbent, SLO(1.0), Workload(2.0), None, 0.5, past=past, seed=seed
    )


def played(proposer: Proposer, first: ProposalContext, wins: frozenset[Settings]) -> list[Proposal]:
    """All that is offered until nothing is left, where a test of `wins` is accepted."""
    offered = []
    while (proposal := proposer.propose(first)) is not None:
        offered.append(proposal)
        won = proposal.settings in wins
        verdict = Verdict.ACCEPTED if won else Verdict.REJECTED
        trial = PastTrial(first.incumbent, proposal.settings, 0.1 if won else -0.1, verdict)
        incumbent = proposal.settings if won else first.incumbent
        first = replace(first, incumbent=incumbent, past=(*first.past, trial))
    return offered


def test_random_draws_from_what_is_within_reach_alone() -> None:
    tight = KnobSpace(tuple(replace(knob, max_step=1) for knob in SPACE))
    near = [
        RandomProposer().propose(replace(context(seed=seed), space=tight)) for seed in range(300)
    ]
    drawn = Counter(proposal.settings for proposal in near if proposal is not None)
    assert set(drawn) == {SPACE.at((a, b, c)) for a in (0, 1) for b in (5, 6) for c in (1, 2)} - {
        START
    }
    assert min(drawn.values()) > 300 / 7 / 2  # all alike


def test_the_grid_goes_from_coarse_to_fine_and_then_to_the_other_knobs() -> None:
    offered = played(GridProposer(), context(), frozenset())
    points = [(p.settings["max_num_seqs"], p.settings["max_num_batched_tokens"]) for p in offered]
    assert points[0] == (8, 256)  # the middle of both
    assert set(points[:9]) == {(s, t) for s in (2, 8, 32) for t in (64, 256, 1024)}
    on_grid = [p for p in offered if p.settings["batch_timeout_ms"] == 0]
    assert len(on_grid) == 7 * 3 - 1
    assert [p.settings["batch_timeout_ms"] for p in offered[20:]] == [10, 50]
    assert "of the grid over max_num_seqs and max_num_batched_tokens" in offered[0].reason
    assert "batch_timeout_ms by itself" in offered[-1].reason


def test_a_point_of_the_grid_is_visited_once_even_when_the_incumbent_moves() -> None:
    winner = SPACE.at((0, 3, 1))
    offered = played(GridProposer(), context(), frozenset({winner}))
    points = [
        (p.settings["max_num_seqs"], p.settings["max_num_batched_tokens"])
        for p in offered
        if p.settings["batch_timeout_ms"] == 0
    ]
    assert len(points) == len(set(points)) == 20
    alone = [p.settings for p in offered if p.settings["batch_timeout_ms"] != 0]
    assert alone == [winner.with_values(batch_timeout_ms=t) for t in (10, 50)]


def test_the_grid_of_other_knobs_takes_the_first_that_move() -> None:
    space = KnobSpace((Knob("a", (1,)), Knob("b", (1, 2, 3)), Knob("max_num_seqs", (1, 2))))
    first = replace(context(), space=space, incumbent=space.at((0, 0, 0)))
    proposal = GridProposer().propose(first)
    assert proposal is not None
    assert "over max_num_seqs and b" in proposal.reason


def test_hill_climbing_goes_on_in_the_direction_that_won() -> None:
    halved = START.with_values(max_num_seqs=32)
    won = PastTrial(START, halved, 0.1, Verdict.ACCEPTED)
    for seed in range(6):
        proposal = HillClimbProposer().propose(context(halved, won, seed=seed))
        assert proposal is not None
        assert proposal.settings == START.with_values(max_num_seqs=16)
        assert "max_num_seqs 32 → 16: the last step in this direction won" in proposal.reason


def test_hill_climbing_puts_what_lost_elsewhere_last() -> None:
    lost = PastTrial(
        START.with_values(max_num_seqs=32),
        START.with_values(max_num_seqs=32, batch_timeout_ms=10),
        -0.1,
        Verdict.REJECTED,
    )
    firsts = [HillClimbProposer().propose(context(START, lost, seed=seed)) for seed in range(12)]
    moved = {next(iter(p.settings.changed_from(START))) for p in firsts if p is not None}
    assert moved == {"max_num_seqs", "max_num_batched_tokens"}
    others = [
        PastTrial(START, START.with_values(**{name: value}), -0.1, Verdict.REJECTED)
        for name, value in (("max_num_seqs", 32), ("max_num_batched_tokens", 256))
    ]
    last = HillClimbProposer().propose(context(START, lost, *others))
    assert last is not None
    assert last.settings == START.with_values(batch_timeout_ms=10)
    assert "lost before" in last.reason


def test_hill_climbing_comes_to_the_top_of_a_slope_by_few_steps() -> None:
    slope = frozenset(START.with_values(max_num_seqs=n) for n in (32, 16, 8, 4))
    offered = played(HillClimbProposer(), context(), slope)
    wins = [k for k, p in enumerate(offered) if p.settings in slope]
    assert len(wins) == 4
    assert wins == list(range(wins[0], wins[0] + 4))  # once it found the direction, nothing else


class _Offers:
    def __init__(self, name: str | None) -> None:
        self.name = name

    def propose(self, context: ProposalContext) -> Proposal | None:
        settings = START.with_values(max_num_seqs=8)
        return Proposal(settings, self.name, "because") if self.name else None


@pytest.mark.parametrize(("trials", "who"), [(0, "first"), (1, "first"), (2, "then"), (3, "then")])
def test_the_other_takes_over_after_some_trials(trials: int, who: str) -> None:
    lost = PastTrial(START, START.with_values(max_num_seqs=16), -0.1, Verdict.REJECTED)
    relay = Relay(_Offers("first"), _Offers("then"), after=2)
    proposal = relay.propose(context(START, *[lost] * trials))
    assert proposal is not None
    assert proposal.proposer == who


def test_the_other_takes_over_at_once_where_the_first_has_nothing() -> None:
    proposal = Relay(_Offers(None), _Offers("then"), after=9).propose(context())
    assert proposal is not None
    assert proposal.proposer == "then"
    assert Relay(_Offers("first"), _Offers(None), after=0).propose(context()) is None
