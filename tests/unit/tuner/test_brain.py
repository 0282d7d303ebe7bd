"""The brain: each cycle's decision from a scripted world."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.domain.experiment import Arm, Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.tuner import Action, Decision, Observation, Tuner, TunerState
from tests.unit.tuner.world import (
    FAR,
    LIVE,
    NEW,
    NOW,
    OLD,
    RULES,
    TOO_MANY,
    UNANSWERED,
    Scripted,
    decide,
    play,
    seen,
    started,
    state,
    traffic,
)


def test_a_candidate_is_put_to_the_test() -> None:
    decision = decide(state(), seen())
    assert decision.action is Action.START
    assert decision.opens_slot
    assert decision.apply in (OLD, NEW)
    assert decision.state.experiment is not None
    assert decision.state.experiment.treatment == NEW
    assert "seqs 4→8" in decision.reason
    assert "tokens 256→128" in decision.reason


@pytest.mark.parametrize(
    ("world", "word"),
    [
        (seen(traffic=None), "too little traffic"),
        (seen(traffic=traffic(requests=9)), "9 of 10"),
        (seen(traffic=traffic(attainment=0.995)), "meets the goal"),
        (seen(problem="metrics are stale"), "stale"),
        (seen(live=None, batch=None, traffic=None, problem="it is gone"), "gone"),
    ],
)
def test_nothing_starts_without_reason(world: Observation, word: str) -> None:
    decision = decide(state(), world)
    assert decision.action is Action.HOLD
    assert decision.apply is None
    assert word in decision.reason


def test_an_outage_raises_an_alert() -> None:
    decision = decide(state(), seen(live=None, batch=None))
    assert decision.alert == "TargetDown"


def test_unknown_attainment_is_no_reason_against_a_test() -> None:
    assert decide(state(), seen(traffic=traffic(math.nan))).action is Action.START


def test_it_rests_after_a_test_and_after_nothing_was_found() -> None:
    resting = decide(state(idle_until=1500.0), seen())
    assert resting.action is Action.HOLD
    assert "500 s" in resting.reason
    nothing = decide(state(), seen(), Scripted(offer=None))
    assert nothing.state.idle_until == 1300.0


@pytest.mark.parametrize(
    ("offer", "known", "word"),
    [
        (OLD, state(), "already runs"),
        (FAR, state(), "further than one step"),
        (NEW, state(quarantined={NEW.digest: 2000.0}), "quarantined"),
    ],
)
def test_an_unfit_proposal_is_refused_whoever_made_it(
    offer: Settings, known: TunerState, word: str
) -> None:
    decision = decide(known, seen(), Scripted(offer))
    assert decision.action is Action.HOLD
    assert word in decision.reason


def test_advisory_decides_but_applies_nothing() -> None:
    decision = decide(state(mode=Mode.ADVISORY), seen())
    assert decision.action is Action.HOLD
    assert decision.apply is None
    assert decision.proposal is not None
    assert "advisory: would test" in decision.reason


def test_paused_only_observes_and_ends_a_running_test() -> None:
    proposer = Scripted()
    assert decide(state(mode=Mode.PAUSED), seen(), proposer).reason == "paused: observing only"
    assert proposer.shown == []
    running = started()
    decision = decide(replace(running, mode=Mode.PAUSED), seen())
    assert decision.action is Action.ROLLBACK
    assert decision.apply == OLD
    assert decision.concluded is not None
    assert decision.concluded.conclusion is not None
    assert decision.concluded.conclusion.verdict is Verdict.ABORTED


def test_a_rollback_is_obeyed_before_anything_else() -> None:
    decision = decide(state(), seen(wish="rollback"))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    blind = decide(started(), seen(live=None, batch=None, wish="rollback"))
    assert blind.apply == OLD
    assert blind.state.experiment is None


def test_a_restart_between_tests_puts_the_incumbent_back() -> None:
    reborn = LiveSettings(Settings({"seqs": 32, "tokens": 64}), 1, "other", 0.0, 5.0)
    decision = decide(state(), seen(live=reborn))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert decision.alert == "TargetRestarted"


def test_a_restart_within_a_test_spoils_the_pair_but_not_the_test() -> None:
    reborn = LiveSettings(OLD, 1, "other", 0.0, 5.0)
    decision = decide(started(), seen(live=reborn))
    assert decision.action is Action.CONTINUE
    assert decision.alert == "TargetRestarted"
    experiment = decision.state.experiment
    assert experiment is not None
    assert "restarted" in (experiment.slots[0].excluded or "")


def test_what_a_person_changed_is_adopted() -> None:
    theirs = LiveSettings(Settings({"seqs": 16, "tokens": 64}), 2, "boot", 90.0, 100.0)
    decision = decide(state(), seen(live=theirs))
    assert decision.apply is None
    assert decision.state.incumbent == theirs.settings
    assert decision.alert == "SettingsDrift"
    during = decide(started(), seen(live=theirs))
    assert during.state.experiment is None
    assert during.concluded is not None
    assert during.state.incumbent == theirs.settings


def test_settings_sent_with_unknown_outcome_are_not_taken_for_a_person() -> None:
    ours = LiveSettings(NEW, 2, "boot", 90.0, 100.0)
    known = state(unconfirmed=NEW, unsettled=True)
    decision = decide(known, seen(live=ours))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert "not confirmed" in decision.reason


def test_a_refused_candidate_is_quarantined_and_the_incumbent_settled() -> None:
    tuner = Tuner(RULES, Scripted())
    before = state()
    decision = tuner.decide(before, seen(), 1000.0)
    after = tuner.failed(before, decision, TOO_MANY, LIVE, NOW)
    assert NEW.digest in after.quarantined
    assert after.experiment is None
    assert after.unsettled


def test_an_unknown_start_is_forgotten_and_the_incumbent_settled() -> None:
    tuner = Tuner(RULES, Scripted())
    before = state()
    decision = tuner.decide(before, seen(), 1000.0)
    after = tuner.failed(before, decision, UNANSWERED, LIVE, NOW)
    assert after.experiment is None
    assert after.unsettled
    assert after.unconfirmed == decision.apply


def test_a_test_survives_a_slot_that_could_not_be_applied() -> None:
    tuner, running = Tuner(RULES, Scripted()), started()
    assert running.experiment is not None
    decision = Decision(Action.CONTINUE, "next slot", running, apply=NEW, opens_slot=True)
    after = tuner.failed(running, decision, UNANSWERED, LIVE, NOW)
    assert after.experiment == running.experiment
    assert after.unconfirmed == NEW


def test_a_better_candidate_is_promoted_with_what_a_reader_needs() -> None:
    played = play(better=True)
    decisions, after = played.decisions, played.state
    assert decisions[-1].action is Action.PROMOTE
    assert after.incumbent == NEW
    ended = decisions[-1].concluded
    assert ended is not None
    assert ended.conclusion is not None
    assert ended.conclusion.verdict is Verdict.ACCEPTED
    assert ended.conclusion.confidence >= 0.95
    assert ended.conclusion.pairs == len(ended.pairs) <= 8
    assert after.past[-1].verdict == "ACCEPTED"
    arms = [slot.arm for slot in ended.slots[: 2 * len(ended.pairs)]]
    assert all({a, b} == set(Arm) for a, b in zip(arms[::2], arms[1::2], strict=True))


def test_a_harmful_candidate_is_rolled_back_and_quarantined() -> None:
    played = play(better=False)
    decisions, after = played.decisions, played.state
    assert decisions[-1].action is Action.ROLLBACK
    assert decisions[-1].apply == OLD
    assert after.incumbent == OLD
    assert NEW.digest in after.quarantined
    assert decisions[-1].alert == "ExperimentHarmful"


def test_a_peak_that_cannot_be_served_starts_a_test_though_the_goal_is_met() -> None:
    world = seen(traffic=traffic(attainment=0.995))
    assert decide(state(), world).action is Action.HOLD
    ahead = replace(world, overload="9 requests per second are forecast in 50 min")
    assert decide(state(), ahead).action is Action.START
