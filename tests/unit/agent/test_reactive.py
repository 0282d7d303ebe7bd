from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.agent.reactive import AIMDProposer
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Knob, KnobSpace, Settings, Value
from autotuner.domain.ports import PastTrial, ProposalContext, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Histogram, Window

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (4, 8, 16, 24, 32, 48, 64)),
        Knob("max_num_batched_tokens", (64, 256, 512, 2048)),
    )
)
START = Settings({"max_num_seqs": 48, "max_num_batched_tokens": 512})


def window(ttft_s: float = 0.5, tpot_s: float = 0.02, waiting: float = 0.0) -> Window:
    seen = {
        name: Histogram((math.inf,), (10.0,), mean * 10)
        for name, mean in (("ttft_s", ttft_s), ("tpot_s", tpot_s))
    }
    return Window(0.0, 60.0, 10.0, {}, {"waiting": waiting}, seen)


def context(attainment: float, seen: Window | None = None, *past: PastTrial) -> ProposalContext:
    slo = SLO(ttft_s=1.0, tpot_s=0.05)
    return ProposalContext(SPACE, START, slo, Workload(2.0), seen, attainment, past=past)


def changes(context: ProposalContext) -> dict[str, Value] | None:
    proposal = AIMDProposer().propose(context)
    return None if proposal is None else proposal.settings.changed_from(context.incumbent)


def test_a_missed_slo_halves_the_sequences() -> None:
    proposal = AIMDProposer().propose(context(0.5, window()))
    assert proposal is not None
    assert proposal.settings.changed_from(START) == {"max_num_seqs": 24}
    assert "the SLO is missed: multiplicative decrease, max_num_seqs 48 → 24" in proposal.reason


def test_late_tokens_halve_the_budget() -> None:
    assert changes(context(0.5, window(tpot_s=0.2))) == {"max_num_batched_tokens": 256}


def test_a_slo_that_holds_allows_a_level_more_of_what_requests_wait_for() -> None:
    assert changes(context(0.995, window(waiting=4.0))) == {"max_num_seqs": 64}
    assert changes(context(0.995, window())) == {"max_num_batched_tokens": 2048}


def test_the_goal_says_when_the_slo_holds() -> None:
    easy = context(0.95, window(waiting=1.0))
    assert changes(easy) == {"max_num_seqs": 24}
    assert changes(replace(easy, goal=replace(easy.goal, attainment=0.9))) == {"max_num_seqs": 64}


def test_half_is_reached_within_the_step_that_is_allowed() -> None:
    tight = KnobSpace(tuple(replace(knob, max_step=1) for knob in SPACE))
    assert changes(replace(context(0.5), space=tight)) == {"max_num_seqs": 32}


def lost(**values: int) -> PastTrial:
    return PastTrial(START, START.with_values(**values), -0.1, Verdict.REJECTED)


def test_the_other_knob_follows_and_then_the_other_way() -> None:
    seqs, budget = lost(max_num_seqs=24), lost(max_num_batched_tokens=256)
    assert changes(context(0.5, window(), seqs)) == {"max_num_batched_tokens": 256}
    more = changes(context(0.5, window(), seqs, budget))
    assert more == {"max_num_batched_tokens": 2048}
    ends = lost(max_num_batched_tokens=2048), lost(max_num_seqs=64)
    assert changes(context(0.5, window(), seqs, budget, *ends)) is None


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (window(), {"max_num_batched_tokens": 2048}),
        (window(ttft_s=3.0), {"max_num_seqs": 24}),
        (Window(0.0, 60.0, 0.0), None),
        (None, None),
    ],
)
def test_mean_latencies_stand_in_where_attainment_is_unknown(
    seen: Window | None, expected: dict[str, Value] | None
) -> None:
    assert changes(context(math.nan, seen)) == expected


def test_it_leaves_other_knobs_and_words_alone() -> None:
    space = KnobSpace((Knob("max_num_seqs", ("few", "many")), Knob("block_size", (8, 16))))
    alone = replace(context(0.5), space=space, incumbent=space.at((1, 1)))
    assert AIMDProposer().propose(alone) is None
