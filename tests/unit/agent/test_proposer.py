from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import autotuner
from autotuner.agent.artifact import load
from autotuner.agent.baselines import HillClimbProposer, RandomProposer, screened_random
from autotuner.agent.proposer import PPOProposer, SearchEffort
from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.agent.traffic import ClassMix, TokenClass
from autotuner.domain.experiment import Verdict
from autotuner.domain.goals import Goal, GoalKind
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import PastTrial, ProposalContext, Proposer, Workload
from autotuner.domain.slo import SLO

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (1, 4, 8, 16, 32, 64)),
        Knob("max_num_batched_tokens", (16, 64, 96, 128, 192, 256, 512, 1024, 2048)),
        Knob("batch_timeout_ms", (0, 10, 50)),
        Knob("schedule_policy", ("fcfs", "length-grouped")),
    )
)
START = Settings(
    {
        "max_num_seqs": 64,
        "max_num_batched_tokens": 2048,
        "batch_timeout_ms": 0,
        "schedule_policy": "fcfs",
    }
)
MODEL = StepModel(6e-3, 0.45e-3, 0.45e-3, 3e-6, noise=0.05)
MIX = ClassMix((TokenClass(0.9, (64, 256), (16, 96)), TokenClass(0.1, (1000, 2000), (16, 96))))
SLO_ = SLO(1.5, 0.1)
QUICK = SearchEffort(walks=12, pool=400, worlds=12, screened=8)
AGENT = load(Path(autotuner.__file__).parents[1] / "policies" / "agents" / "ppo-v2")


def served(settings: Settings = START, until_s: float = 300.0) -> ProposalContext:
    """What the daemon would know after serving under `settings`."""
    system = SimulatedSystem(MODEL, lambda _: 2.5, MIX, settings, seed=3)
    exposures = system.advance(until_s)
    return ProposalContext(
        space=SPACE,
        incumbent=settings,
        slo=SLO_,
        workload=Workload(
            2.5, [e.prompt_tokens for e in exposures], [e.output_tokens for e in exposures]
        ),
        window=None,
        attainment=sum(map(SLO_.met_by, exposures)) / len(exposures),
        steps=system.steps(0)[0],
        seed=1,
    )


CONTEXT = served()


def true_attainment(settings: Settings) -> float:
    exposures = SimulatedSystem(MODEL, lambda _: 2.5, MIX, settings, seed=9).advance(900.0)
    return sum(map(SLO_.met_by, exposures)) / len(exposures)


def test_one_proposal_goes_from_a_poor_start_to_nearly_the_best() -> None:
    proposal = PPOProposer(AGENT, effort=QUICK).propose(CONTEXT)
    assert proposal is not None
    assert proposal.predicted_effect is not None
    best = max(true_attainment(START.with_values(max_num_batched_tokens=c)) for c in (64, 96, 128))
    before, after = true_attainment(START), true_attainment(proposal.settings)
    assert after > before + 0.2
    assert after > best - 0.05
    assert after - before == pytest.approx(proposal.predicted_effect, abs=0.15)
    assert proposal.agent_version == AGENT.card.name


def test_the_reason_says_what_was_seen_what_changes_and_what_is_expected() -> None:
    proposal = PPOProposer(AGENT, effort=QUICK).propose(CONTEXT)
    assert proposal is not None
    for words in ("95% interval", "candidates", "max_num_batched_tokens 2048 →", "fitted"):
        assert words in proposal.reason
    why = proposal.explanation
    assert why is not None
    assert why.effect == proposal.predicted_effect
    assert why.low < why.effect <= why.high <= 1 - CONTEXT.attainment + 1e-9
    assert why.method == "policy"
    assert why.candidate["attainment"] > why.incumbent["attainment"]
    assert why.seen["attainment"] == CONTEXT.attainment
    assert why.considered == SPACE.size() - 1
    assert all(map(math.isfinite, (*why.seen.values(), *why.candidate.values())))


def test_it_has_nothing_to_offer_where_all_is_well() -> None:
    good = served(START.with_values(max_num_batched_tokens=96, max_num_seqs=32))
    easy = replace(good, slo=SLO(30.0, 5.0), attainment=1.0)
    assert PPOProposer(AGENT, effort=QUICK).propose(easy) is None


def test_the_same_seed_gives_the_same_proposal() -> None:
    proposer = PPOProposer(AGENT, effort=QUICK)
    assert proposer.propose(CONTEXT) == proposer.propose(CONTEXT)


def test_the_forecast_counts_where_it_is_higher() -> None:
    ahead = PPOProposer(AGENT, effort=QUICK).propose(replace(CONTEXT, forecast_rate_rps=3.0))
    assert ahead is not None
    assert "3 requests/s (forecast)" in ahead.reason


PROPOSERS: Sequence[tuple[str, Proposer]] = [
    ("ppo", PPOProposer(AGENT, effort=QUICK)),
    ("ppo-unscreened", PPOProposer(AGENT, screen=False)),
    ("screened-random", screened_random(screen=False)),
    ("random", RandomProposer()),
    ("hill-climb", HillClimbProposer()),
]
each_proposer = pytest.mark.parametrize(
    "proposer", [p for _, p in PROPOSERS], ids=[n for n, _ in PROPOSERS]
)


@each_proposer
def test_no_knob_moves_further_than_its_step(proposer: Proposer) -> None:
    tight = KnobSpace(tuple(replace(knob, max_step=2) for knob in SPACE))
    near = START.with_values(max_num_batched_tokens=256)
    for seed in range(4):
        context = replace(CONTEXT, space=tight, incumbent=near, seed=seed)
        proposal = proposer.propose(context)
        assert proposal is not None
        tight.validate(proposal.settings)
        assert tight.within_step(near, proposal.settings)
        assert proposal.settings != near


def trial(treatment: Settings, effect: float, verdict: Verdict, sd: float = 0.02) -> PastTrial:
    return PastTrial(START, treatment, effect, verdict, effect - 3 * sd, effect + 3 * sd, id="e1")


def test_an_experiment_that_contradicts_the_model_moves_the_next_proposal() -> None:
    first = PPOProposer(AGENT, effort=QUICK).propose(CONTEXT)
    assert first is not None
    failed = trial(first.settings, -0.3, Verdict.HARMFUL)
    held = frozenset({first.settings.digest})
    second = PPOProposer(AGENT, effort=QUICK).propose(
        replace(CONTEXT, past=(failed,), quarantined=held)
    )
    assert second is not None
    assert second.explanation is not None
    assert first.explanation is not None
    assert second.explanation.effect < first.explanation.effect - 0.05
    assert [near.experiment for near in second.explanation.nearest] == ["e1"]


def test_what_needs_a_rebuild_has_to_pay_for_it_within_the_horizon() -> None:
    built = KnobSpace(tuple(replace(knob, live=False) for knob in SPACE))
    proposer = PPOProposer(AGENT, effort=QUICK)
    long = replace(CONTEXT, space=built, rebuild_s=60.0, horizon_s=86_400.0)
    assert proposer.propose(long) is not None
    assert proposer.propose(replace(long, horizon_s=30.0)) is None


def test_a_goal_that_saves_gives_devices_back() -> None:
    devices = Knob("data_parallel_size", (1, 2, 4), live=False)
    space = KnobSpace((Knob("max_num_seqs", (8, 16, 32)), devices))
    start = Settings({"max_num_seqs": 32, "data_parallel_size": 4})
    idle = replace(
        CONTEXT,
        space=space,
        incumbent=start,
        slo=SLO(30.0, 5.0),
        workload=replace(CONTEXT.workload, rate_rps=0.2),
        attainment=1.0,
        goal=Goal(GoalKind.DEVICES, 0.95),
    )
    proposal = PPOProposer(AGENT, effort=QUICK).propose(idle)
    assert proposal is not None
    assert int(proposal.settings["data_parallel_size"]) < 4
    assert PPOProposer(AGENT, effort=QUICK).propose(replace(idle, goal=Goal())) is None


def test_a_knob_no_model_knows_is_tried_alone_once_nothing_else_promises_a_gain() -> None:
    space = KnobSpace((Knob("block_size", (8, 16, 32)), Knob("swap_gb", (0, 4))))
    incumbent = Settings({"block_size": 16, "swap_gb": 0})
    bare = replace(CONTEXT, space=space, incumbent=incumbent, attainment=0.5)
    proposal = PPOProposer(AGENT, effort=QUICK).propose(bare)
    assert proposal is not None
    assert len(proposal.settings.changed_from(incumbent)) == 1
    assert proposal.predicted_effect is None
    assert proposal.explanation is not None
    assert proposal.explanation.method == "exploration"


@each_proposer
def test_quarantined_and_lost_candidates_are_not_offered_again(proposer: Proposer) -> None:
    context, offered = CONTEXT, list[Settings]()
    for k in range(3):
        proposal = proposer.propose(context)
        if proposal is None:
            break
        assert proposal.settings not in offered
        offered.append(proposal.settings)
        lost = PastTrial(START, proposal.settings, 0.0, Verdict.INCONCLUSIVE)
        if k % 2:
            context = replace(context, past=(*context.past, lost))
        else:
            context = replace(context, quarantined=context.quarantined | {proposal.settings.digest})
    assert offered


ODD = {
    "no sample": {"workload": Workload(2.0)},
    "no rate": {"workload": Workload(0.0, [10], [5])},
    "NaN rate": {"workload": Workload(math.nan, [10], [5])},
    "empty space": {"space": KnobSpace(())},
    "foreign incumbent": {"incumbent": Settings({"colour": "red"})},
    "unknown level": {"incumbent": START.with_values(schedule_policy="lottery")},
    "no movable knob": {"space": KnobSpace((Knob("max_num_seqs", (64,)),))},
    "foreign knobs": {
        "space": KnobSpace((Knob("block_size", (16,)),)),
        "incumbent": Settings({"block_size": 16}),
    },
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("screen", [True, False])
def test_odd_input_gives_no_proposal_and_no_error(name: str, screen: bool) -> None:
    context = replace(CONTEXT, **ODD[name])  # type: ignore[arg-type]
    assert PPOProposer(AGENT, screen=screen, effort=QUICK).propose(context) is None


def test_odd_figures_beside_good_ones_are_left_out() -> None:
    odd = replace(
        CONTEXT,
        attainment=math.nan,
        forecast_rate_rps=math.nan,
        seed=-5,
        workload=Workload(
            2.5,
            [*CONTEXT.workload.prompt_tokens, 0, -3],
            [*CONTEXT.workload.output_tokens, 5, 5, 5],
        ),
    )
    proposal = PPOProposer(AGENT, effort=QUICK).propose(odd)
    assert proposal is not None
    assert "attainment unknown" in proposal.reason


def test_it_tunes_the_knobs_it_knows_and_leaves_the_others() -> None:
    space = KnobSpace((SPACE.knobs[1], Knob("block_size", (16, 32))))
    incumbent = Settings({"max_num_batched_tokens": 2048, "block_size": 32})
    proposal = PPOProposer(AGENT, effort=QUICK).propose(
        replace(CONTEXT, space=space, incumbent=incumbent)
    )
    assert proposal is not None
    assert proposal.settings["block_size"] == 32
    assert set(proposal.settings) == set(incumbent)
