"""The confirm run: an accepted candidate wins twice before anything of it stays live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.domain.experiment import Verdict
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.tuner import Action, Fdr, Observation, Rules, Tuner, TunerState
from tests.unit.tuner.world import (
    LIVE,
    NEW,
    NOW,
    OLD,
    PLAN,
    TOO_MANY,
    UNANSWERED,
    Scripted,
    decide,
    ended,
    play,
    rules,
    seen,
    state,
    traffic,
)

TWICE = rules(confirm=True)


def test_the_first_acceptance_brings_the_incumbent_back() -> None:
    played = play(better=True, policy=TWICE)
    last = played.decisions[-1]
    assert last.concluded is not None
    assert last.concluded.conclusion is not None
    assert last.concluded.conclusion.verdict is Verdict.ACCEPTED
    assert (last.action, last.apply) == (Action.ROLLBACK, OLD)
    assert "has to confirm it" in last.reason
    assert played.state.incumbent == OLD
    assert played.state.to_confirm == last.concluded
    assert played.state.past == (), "nothing is learnt before it is confirmed"


def test_only_the_second_acceptance_promotes() -> None:
    first = play(better=True, policy=TWICE)
    second = play(True, TWICE, first.state, first.live, first_cycle=len(first.decisions))
    start = second.decisions[0]
    assert start.action is Action.START, "it does not rest before it"
    assert start.state.experiment is not None
    accepted = first.decisions[-1].concluded
    assert accepted is not None
    assert start.state.experiment.plan.confirms == accepted.id
    assert start.state.experiment.control == OLD
    assert start.state.experiment.treatment == NEW
    last = second.decisions[-1]
    assert (last.action, last.apply) == (Action.PROMOTE, NEW)
    assert second.state.incumbent == NEW
    assert second.state.to_confirm is None
    assert [trial.verdict for trial in second.state.past] == ["ACCEPTED"]
    assert (second.state.tests, second.state.accepted) == (1, 1), "the second claims nothing new"


def test_a_candidate_that_loses_the_second_test_is_gone() -> None:
    first = play(better=True, policy=TWICE)
    second = play(False, TWICE, first.state, first.live, first_cycle=len(first.decisions))
    assert second.state.incumbent == OLD
    assert second.state.to_confirm is None
    assert NEW.digest in second.state.banned(NOW)


def test_the_second_test_waits_for_nothing_but_trust_and_traffic() -> None:
    known = state(to_confirm=ended(Verdict.ACCEPTED), idle_until=9999.0)
    good = seen(traffic=traffic(attainment=1.0))
    assert decide(known, good, policy=TWICE).action is Action.START
    assert decide(known, seen(traffic=None), policy=TWICE).action is Action.HOLD
    assert decide(known, seen(problem="stale"), policy=TWICE).action is Action.HOLD
    waiting = decide(replace(known, mode=Mode.PAUSED), seen(), policy=TWICE)
    assert waiting.state.to_confirm is not None


@pytest.mark.parametrize(
    ("known", "policy", "word"),
    [
        (state(incumbent=NEW), TWICE, "another one"),
        (state(quarantined={NEW.digest: NOW + 3600}), TWICE, "quarantined"),
        (state(), rules(), "no confirm run"),
    ],
)
def test_a_second_test_that_lost_its_sense_is_dropped(
    known: TunerState, policy: Rules, word: str
) -> None:
    waiting = replace(known, to_confirm=ended(Verdict.ACCEPTED))
    live = LiveSettings(waiting.incumbent, 1, "boot", 0.0, 100.0)
    dropped = decide(replace(waiting, intended=live), seen(live=live), policy=policy)
    assert dropped.action is Action.HOLD
    assert word in dropped.reason
    assert dropped.state.to_confirm is None


def test_a_confirm_run_that_was_cut_short_is_not_repeated() -> None:
    known = state(to_confirm=ended(Verdict.ACCEPTED))
    running = decide(known, seen(), policy=TWICE).state
    cut = decide(running, seen(wish="rollback"), policy=TWICE)
    assert cut.apply == OLD
    assert cut.state.to_confirm is None
    assert decide(known, seen(wish="rollback"), policy=TWICE).state.to_confirm is None


def test_a_start_that_may_not_have_reached_the_target_is_tried_again() -> None:
    known = state(to_confirm=ended(Verdict.ACCEPTED))
    decision = decide(known, seen(), policy=TWICE)
    after = Tuner(TWICE, Scripted()).failed(known, decision, UNANSWERED, LIVE, NOW)
    assert after.to_confirm is not None
    refused = Tuner(TWICE, Scripted()).failed(known, decision, TOO_MANY, LIVE, NOW)
    assert refused.to_confirm is None
    assert NEW.digest in refused.quarantined


def test_what_a_person_changed_ends_the_wait_too() -> None:
    theirs = LiveSettings(NEW, 2, "boot", 90.0, 100.0)
    known = state(to_confirm=ended(Verdict.ACCEPTED))
    world: Observation = seen(live=theirs)
    assert decide(known, world, policy=TWICE).state.to_confirm is None


def test_the_second_test_is_run_at_the_level_of_a_single_one() -> None:
    strict = replace(PLAN, alpha=0.001)
    known = state(to_confirm=ended(Verdict.ACCEPTED, plan=strict), tests=30)
    stream = decide(known, seen(), policy=rules(confirm=True, fdr=Fdr.E_LOND)).state.experiment
    assert stream is not None
    assert stream.plan.alpha == PLAN.alpha
    single = decide(known, seen(), policy=TWICE).state.experiment
    assert single is not None
    assert single.plan.alpha == strict.alpha
