"""A test that a person asked for: what stops it, what does not, and what an A/A means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.abtest import switchback
from autotuner.domain.declaration import Declaration
from autotuner.domain.experiment import Arm, Design, Guardrail, Verdict
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.tuner import Action, Observation, Tuner, TunerState
from autotuner.tuner.ending import concluded
from tests.unit.tuner.world import (
    FAR,
    LIVE,
    NEW,
    NOW,
    OLD,
    PLAN,
    TOO_MANY,
    Scripted,
    asked,
    decide,
    ended,
    rules,
    seen,
    started,
    state,
    traffic,
)


def test_it_goes_before_the_agent_s_own_and_is_told_whose_it_is() -> None:
    proposer = Scripted()
    decision = decide(state(), seen(declared=asked(seqs=16)), proposer)
    assert decision.action is Action.START
    assert decision.declared == 7
    assert proposer.shown == []
    experiment = decision.state.experiment
    assert experiment is not None
    assert experiment.treatment == OLD.with_values(seqs=16)
    assert experiment.proposer == "declared by alice"
    assert "seqs 4→16, as alice asked (request 7): larger batches" in decision.reason
    assert "finds gains of" in decision.reason


def test_neither_the_goal_nor_the_rest_nor_a_large_step_stops_it() -> None:
    world = seen(declared=asked(seqs=32, tokens=128), traffic=traffic(attainment=1.0))
    decision = decide(state(idle_until=9999.0), world)
    assert decision.action is Action.START
    assert decision.state.experiment is not None
    assert decision.state.experiment.treatment == FAR


@pytest.mark.parametrize(
    ("request_", "known", "word"),
    [
        (asked(seqs=5), state(), "seqs"),
        (asked(colour=1), state(), "unknown knob"),
        (asked(seqs=4), state(), "already runs"),
        (asked(seqs=8, tokens=128), state(quarantined={NEW.digest: NOW + 7200}), "another 2.0 h"),
        (asked(replace(PLAN, max_pairs=5), seqs=8), state(), "7 pairs at least"),
        (asked(replace(PLAN, slot_s=4), seqs=8), state(), "5 are needed"),
        (asked(replace(PLAN, guardrails=(Guardrail("ttft", 0.01, 0.5),)), seqs=8), state(), "ttft"),
    ],
)
def test_a_refusal_takes_the_request_and_says_why(
    request_: Declaration, known: TunerState, word: str
) -> None:
    decision = decide(known, seen(declared=request_))
    assert decision.action is Action.HOLD
    assert decision.declared == 7
    assert "alice" in decision.reason
    assert word in decision.reason
    assert decision.state.experiment is None


@pytest.mark.parametrize(
    ("known", "world"),
    [
        (state(), seen(problem="metrics are stale", declared=asked(seqs=8))),
        (state(), seen(traffic=traffic(requests=2), declared=asked(seqs=8))),
        (state(), seen(live=None, batch=None, declared=asked(seqs=8))),
        (state(mode=Mode.PAUSED), seen(declared=asked(seqs=8))),
        (state(mode=Mode.ADVISORY), seen(declared=asked(seqs=8))),
        (state(unsettled=True), seen(declared=asked(seqs=8))),
        (started(), seen(declared=asked(seqs=8))),
    ],
)
def test_it_waits_where_the_moment_is_wrong(known: TunerState, world: Observation) -> None:
    decision = decide(known, world)
    assert decision.declared is None
    assert decision.action is not Action.START


def test_an_a_a_runs_the_incumbent_against_itself() -> None:
    decision = decide(state(quarantined={OLD.digest: NOW + 9}), seen(declared=asked()))
    assert decision.action is Action.START
    assert decision.state.experiment is not None
    assert decision.state.experiment.control == decision.state.experiment.treatment == OLD
    assert decision.apply == OLD
    assert "nothing (A/A)" in decision.reason


@pytest.mark.parametrize(
    ("verdict", "alert"),
    [
        (Verdict.ACCEPTED, "AAFailed"),
        (Verdict.HARMFUL, "AAFailed"),
        (Verdict.INCONCLUSIVE, None),
        (Verdict.REJECTED, None),
    ],
)
def test_an_a_a_that_finds_a_difference_accuses_the_chain_and_nothing_else(
    verdict: Verdict, alert: str | None
) -> None:
    running = decide(state(), seen(declared=asked())).state
    assert running.experiment is not None
    done = replace(ended(verdict, treatment=OLD), control=OLD)
    decision = concluded(running, done, seen(), NOW, rules(confirm=True))
    assert decision.alert == alert
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert decision.state.quarantined == {}
    assert decision.state.past == ()
    assert (decision.state.tests, decision.state.to_confirm) == (0, None)


def test_guardrails_on_answers_are_dropped_where_no_answer_can_change() -> None:
    rails = (Guardrail("quality", 0.5, 0.01), Guardrail("error_share", 0.9, 0.01))
    plan = replace(PLAN, guardrails=rails)
    plain = decide(state(), seen(declared=asked(plan, seqs=8))).state.experiment
    assert plain is not None
    assert [g.measure for g in plain.plan.guardrails] == ["error_share"]
    space = KnobSpace(
        (Knob("seqs", (4, 8, 16, 32)), Knob("tokens", (64, 128, 256), changes_answers=True))
    )
    touching = decide(
        state(), seen(declared=asked(plan, tokens=64)), policy=rules(space=space)
    ).state.experiment
    assert touching is not None
    assert [g.measure for g in touching.plan.guardrails] == ["quality", "error_share"]


def test_a_split_starts_with_both_lanes_told() -> None:
    plan = replace(PLAN, design=Design.SPLIT)
    decision = decide(state(), seen(declared=asked(plan, seqs=8)))
    experiment = decision.state.experiment
    assert experiment is not None
    assert decision.lanes == switchback.lanes_in(experiment, 0)
    assert set(decision.lanes) == {OLD, OLD.with_values(seqs=8)}
    assert decision.apply == decision.lanes[0]
    opened = switchback.slot_started(experiment, LIVE)
    assert {slot.arm for slot in opened.slots} == set(Arm)
    assert decide(state(), seen(declared=asked(plan))).lanes is None, "an A/A has one settings"


def test_a_refused_a_a_does_not_ban_what_runs() -> None:
    known = state()
    decision = decide(known, seen(declared=asked()))
    after = Tuner(rules(), Scripted()).failed(known, decision, TOO_MANY, LIVE, NOW)
    assert after.quarantined == {}
    assert after.unsettled


def test_a_target_s_other_knobs_are_no_matter() -> None:
    more = LiveSettings(Settings({**OLD, "extra": 1}), 1, "boot", 0.0, 100.0)
    decision = decide(state(intended=more), seen(live=more, declared=asked(seqs=8)))
    assert decision.action is Action.START
