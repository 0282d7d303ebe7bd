"""One suite for whatever implements `domain.ports.Proposer`, the trained agent among them."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.agent.artifact import load
from autotuner.agent.baselines import (
    GridProposer,
    HillClimbProposer,
    RandomProposer,
    screened_random,
)
from autotuner.agent.optuna_search import gp, tpe
from autotuner.agent.proposer import PPOProposer, SearchEffort
from autotuner.agent.reactive import AIMDProposer
from autotuner.agent.relay import Relay
from autotuner.bootstrap import agent_path
from autotuner.config import ProposerConfig
from autotuner.domain.experiment import Verdict
from autotuner.domain.goals import Goal, GoalKind, devices_of
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import PastTrial, Proposal, ProposalContext, Proposer, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Histogram, Window

QUICK = SearchEffort(walks=8)
AGENT = load(agent_path(ProposerConfig().agent))

MODEL_FREE: dict[str, Callable[[], Proposer]] = {
    "random": RandomProposer,
    "grid": GridProposer,
    "hill-climb": HillClimbProposer,
    "aimd": AIMDProposer,
    "tpe": tpe,
    "relay": lambda: Relay(HillClimbProposer(), tpe(), after=4),
}
MAKERS: dict[str, Callable[[], Proposer]] = {
    **MODEL_FREE,
    "gp": gp,
    "ppo": lambda: PPOProposer(AGENT, effort=QUICK),
    "ppo-unscreened": lambda: PPOProposer(AGENT, screen=False),
    "screened-random": lambda: screened_random(screen=False),
}
each_proposer = pytest.mark.parametrize("name", MAKERS)

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (1, 4, 8, 16, 32, 64)),
        Knob("max_num_batched_tokens", (16, 64, 128, 256, 512, 2048)),
        Knob("batch_timeout_ms", (0, 10, 50)),
        Knob("schedule_policy", ("fcfs", "length-grouped")),
        Knob("memory_efficient", (False, True)),
        Knob("block_size", (16,)),
    )
)
START = SPACE.at((5, 5, 0, 0, 1, 0))
DEVICES = KnobSpace(
    (
        Knob("max_num_seqs", (8, 16, 32)),
        Knob("tensor_parallel_size", (1, 2, 4), live=False),
    )
)
SMALL = KnobSpace((Knob("max_num_seqs", (8, 16, 32)), Knob("schedule_policy", ("fcfs", "lifo"))))


def window(waiting: float = 0.0) -> Window:
    seen = {name: Histogram((math.inf,), (20.0,), 10.0) for name in ("ttft_s", "tpot_s", "e2el_s")}
    return Window(0.0, 60.0, 20.0, {}, {"waiting": waiting}, seen)


BASE = ProposalContext(
    space=SPACE,
    incumbent=START,
    slo=SLO(1.5, 0.1),
    workload=Workload(2.5, [60, 200, 900, 1500], [16, 40, 90, 30]),
    window=window(3.0),
    attainment=0.4,
    seed=7,
)


def long_past(n: int = 30) -> tuple[PastTrial, ...]:
    """Tests of all kinds, some of settings that the space no longer has."""
    rng, past = np.random.default_rng(5), []
    outcomes = ("attainment", "goodput", "cost", "ttft_p95")
    for k in range(n):
        control, treatment = (
            SPACE.at(tuple(int(rng.integers(len(knob.levels))) for knob in SPACE)) for _ in "ab"
        )
        effect = math.nan if k % 9 == 0 else float(rng.normal(0, 0.2))
        interval = (effect - 0.1, effect + 0.1) if k % 3 else (math.nan, math.nan)
        past.append(
            PastTrial(
                START if k % 2 else control,
                treatment,
                effect,
                list(Verdict)[k % len(Verdict)],
                *interval,
                outcome=outcomes[k % 4],
            )
        )
    gone = START.with_values(schedule_policy="gone"), Settings({"colour": "red"})
    return (*past, *(PastTrial(START, s, 0.1, Verdict.REJECTED) for s in gone))


def everything(space: KnobSpace) -> list[Settings]:
    return [space.at(place) for place in product(*(range(len(k.levels)) for k in space))]


def small(**changes: object) -> ProposalContext:
    base = replace(BASE, space=SMALL, incumbent=SMALL.at((1, 0)))
    return replace(base, **changes)  # type: ignore[arg-type]


OPEN = {
    "empty past": BASE,
    "long past": replace(BASE, past=long_past()),
    "met goal": replace(BASE, attainment=1.0),
    "attainment unknown": replace(BASE, attainment=math.nan, past=long_past(8)),
    "nothing seen": replace(BASE, attainment=math.nan, window=None),
    "no traffic": replace(
        BASE, workload=Workload(0.0), window=Window(0.0, 60.0, 0.0), attainment=math.nan
    ),
    "between levels": replace(
        BASE, incumbent=START.with_values(max_num_seqs=20, max_num_batched_tokens=300)
    ),
    "beyond the levels": replace(BASE, incumbent=START.with_values(max_num_seqs=500)),
    "short steps": replace(
        BASE, space=KnobSpace(tuple(replace(k, max_step=1) for k in SPACE)), past=long_past(12)
    ),
    "fewer devices": replace(
        BASE, space=DEVICES, incumbent=DEVICES.at((2, 1)), goal=Goal(GoalKind.DEVICES, 0.3)
    ),
    "less cost": replace(BASE, past=long_past(), goal=Goal(GoalKind.COST, 0.3)),
    "no time for a rebuild": replace(
        BASE, space=DEVICES, incumbent=DEVICES.at((2, 0)), rebuild_s=90.0, horizon_s=60.0
    ),
    "negative seed": replace(BASE, seed=-3),
    "large seed": replace(BASE, seed=2**62 + 1),
}
CLOSED = {
    "no device to free": replace(
        BASE, space=DEVICES, incumbent=DEVICES.at((2, 0)), goal=Goal(GoalKind.DEVICES, 0.3)
    ),
    "all tried": small(
        past=tuple(
            PastTrial(SMALL.at((1, 0)), s, -0.1, Verdict.REJECTED) for s in everything(SMALL)
        )
    ),
    "all quarantined": small(quarantined=frozenset(s.digest for s in everything(SMALL))),
    "one level each": replace(
        BASE,
        space=KnobSpace(tuple(Knob(k.name, (START[k.name],)) for k in SPACE)),
    ),
    "no knobs": replace(BASE, space=KnobSpace(()), incumbent=Settings({})),
    "no knobs of the incumbent's": replace(BASE, space=KnobSpace(())),
    "a knob is missing": replace(BASE, incumbent=Settings({"max_num_seqs": 8})),
    "a knob too many": replace(BASE, incumbent=START.with_values(colour="red")),
    "an unknown word": replace(BASE, incumbent=START.with_values(schedule_policy="lottery")),
}


def check(context: ProposalContext, proposal: Proposal | None) -> None:
    """What holds of any proposal: the brain would test it, and the history can keep it."""
    if proposal is None:
        return
    space, offered = context.space, proposal.settings
    space.validate(offered)
    assert space.within_step(context.incumbent, offered)
    assert offered != context.incumbent
    assert offered.digest not in context.quarantined
    tried = [t.treatment for t in context.past if t.control == context.incumbent]
    if context.rebuild_s > context.horizon_s:
        assert all(k.live for k in space if k.name in offered.changed_from(context.incumbent))
    if context.goal.kind is GoalKind.DEVICES:
        assert devices_of(offered) < devices_of(context.incumbent)
    aborted = [t.treatment for t in context.past if t.verdict == Verdict.ABORTED]
    assert offered not in [s for s in tried if s not in aborted]
    won = [t for t in context.past if t.verdict == Verdict.ACCEPTED]
    assert offered not in [t.control for t in won if t.treatment == context.incumbent]
    assert proposal.proposer
    assert proposal.reason
    if proposal.explanation is not None:
        told = json.loads(json.dumps(asdict(proposal.explanation)))
        assert all(math.isfinite(figure) for figure in told["seen"].values())
        assert told["considered"] > 0
        assert told["method"]


@each_proposer
@pytest.mark.parametrize("case", [*OPEN, *CLOSED])
def test_a_proposal_is_admissible_and_the_same_for_a_seed(name: str, case: str) -> None:
    context = (OPEN | CLOSED)[case]
    proposal = MAKERS[name]().propose(context)
    check(context, proposal)
    assert MAKERS[name]().propose(context) == proposal


@each_proposer
@pytest.mark.parametrize("case", CLOSED)
def test_nothing_is_offered_where_nothing_is_open(name: str, case: str) -> None:
    assert MAKERS[name]().propose(CLOSED[case]) is None


@pytest.mark.parametrize("name", ["random", "grid", "hill-climb", "tpe", "gp", "relay"])
@pytest.mark.parametrize("case", OPEN)
def test_who_needs_no_model_always_has_something_to_offer(name: str, case: str) -> None:
    proposal = MAKERS[name]().propose(OPEN[case])
    assert proposal is not None
    assert proposal.explanation is not None


@pytest.mark.parametrize("name", ["random", "tpe", "gp"])
def test_the_last_open_settings_are_found(name: str) -> None:
    every = everything(SPACE)
    last = SPACE.at((2, 3, 1, 1, 0, 0))
    closed = frozenset(s.digest for s in every if s != last)
    proposal = MAKERS[name]().propose(replace(BASE, quarantined=closed))
    assert proposal is not None
    assert proposal.settings == last


@each_proposer
def test_a_proposal_leaves_no_trace(name: str) -> None:
    context = OPEN["long past"]
    before = copy.deepcopy(context)
    states = random.getstate(), str(np.random.get_state()), torch.get_num_threads()  # noqa: NPY002
    drawn = torch.get_rng_state()
    MAKERS[name]().propose(context)
    assert context == before
    assert random.getstate() == states[0]
    assert str(np.random.get_state()) == states[1]  # noqa: NPY002
    assert torch.get_num_threads() == states[2]
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize("name", ["random", "tpe", "gp", "grid"])
def test_all_there_is_gets_its_turn(name: str) -> None:
    proposer, context, met = MAKERS[name](), small(), set[Settings]()
    while (proposal := proposer.propose(context)) is not None:
        assert proposal.settings not in met
        met.add(proposal.settings)
        lost = PastTrial(context.incumbent, proposal.settings, -0.1, Verdict.REJECTED)
        context = replace(context, past=(*context.past, lost))
    assert met == {s for s in everything(SMALL) if s != context.incumbent}


LEVELS = st.one_of(
    st.lists(st.integers(0, 5000), min_size=1, max_size=6, unique=True).map(sorted),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True),
    st.just([False, True]),
    st.lists(st.floats(0.1, 100), min_size=1, max_size=4, unique=True).map(sorted),
)
NAMES = ("max_num_seqs", "max_num_batched_tokens", "schedule_policy", "x")


@st.composite
def contexts(draw: st.DrawFn) -> ProposalContext:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    reach = st.none() | st.integers(1, 3)
    space = KnobSpace(tuple(Knob(n, tuple(draw(LEVELS)), max_step=draw(reach)) for n in names))
    somewhere = st.tuples(*(st.integers(0, len(k.levels) - 1) for k in space)).map(space.at)
    incumbent = draw(somewhere)
    effect = st.floats(-1, 1) | st.just(math.nan)
    trial = st.builds(
        PastTrial,
        somewhere | st.just(incumbent),
        somewhere | st.just(incumbent),
        effect,
        st.sampled_from(list(Verdict)),
        low=effect,
        high=effect,
        outcome=st.sampled_from(["attainment", "goodput", "energy"]),
    )
    past = tuple(draw(st.lists(trial, max_size=14)))
    banned = draw(st.frozensets(somewhere.map(lambda s: s.digest), max_size=6))
    attainment = draw(st.floats(0, 1) | st.just(math.nan))
    seen = draw(st.none() | st.builds(window, st.floats(0, 9)))
    return replace(
        BASE, space=space, incumbent=incumbent, past=past, quarantined=banned,
        attainment=attainment, window=seen, seed=draw(st.integers(-9, 9)),
    )  # fmt: skip


@pytest.mark.parametrize("name", MODEL_FREE)
@given(context=contexts())
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_any_context_gives_an_admissible_proposal_or_none(
    name: str, context: ProposalContext
) -> None:
    proposal = MODEL_FREE[name]().propose(context)
    check(context, proposal)
    assert MODEL_FREE[name]().propose(context) == proposal
