"""What is remembered: quarantine with its end, counts of tests, the workload of the evidence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.abtest.discovery import level
from autotuner.domain.experiment import Verdict
from autotuner.domain.ports import PastTrial
from autotuner.tuner import Action, Fdr, TunerState
from autotuner.tuner.ending import after
from autotuner.tuner.workload import mark_of
from tests.unit.tuner.world import (
    FAR,
    LIVE,
    NEW,
    NOW,
    OLD,
    PLAN,
    Scripted,
    decide,
    ended,
    play,
    rules,
    seen,
    started,
    state,
    traffic,
)

DRIFTING = rules(drift_factor=2.0, drift_hold_s=600.0)
TRIAL = PastTrial(OLD, NEW, -0.1, "REJECTED")


# ---- quarantine
def test_a_harmful_candidate_is_held_for_as_long_as_the_policy_says() -> None:
    policy = rules(quarantine_s=3600.0)
    known = after(state(), ended(Verdict.HARMFUL), seen(), NOW, policy)
    assert known.quarantined == {NEW.digest: NOW + 3600.0}
    known = replace(known, idle_until=0.0)
    held = decide(known, seen(), policy=policy, now=NOW + 3599)
    assert held.action is Action.HOLD
    assert "quarantined" in held.reason
    assert decide(known, seen(), policy=policy, now=NOW + 3600).action is Action.START


def test_proposers_are_told_of_those_that_are_held_now() -> None:
    proposer = Scripted(offer=None)
    held = {"old": NOW - 1, "young": NOW + 1, "ever": math.inf}
    decide(state(quarantined=held), seen(), proposer)
    assert proposer.shown[0].quarantined == {"young", "ever"}


def test_what_has_expired_is_forgotten_with_the_next_test() -> None:
    known = state(quarantined={"old": NOW - 1})
    assert after(known, ended(Verdict.REJECTED), seen(), NOW, rules()).quarantined == {}


# ---- counts and levels
@pytest.mark.parametrize(
    ("verdict", "pairs", "confirms", "counts"),
    [
        (Verdict.ACCEPTED, 8, "", (4, 2)),
        (Verdict.REJECTED, 8, "", (4, 1)),
        (Verdict.HARMFUL, 0, "", (4, 1)),
        (Verdict.ABORTED, 3, "", (4, 1)),
        (Verdict.ABORTED, 0, "", (3, 1)),
        (Verdict.ACCEPTED, 8, "t-0", (3, 1)),
    ],
)
def test_tests_are_counted_as_the_history_counts_them(
    verdict: Verdict, pairs: int, confirms: str, counts: tuple[int, int]
) -> None:
    done = ended(verdict, plan=replace(PLAN, confirms=confirms), pairs=pairs)
    known = after(state(tests=3, accepted=1), done, seen(), NOW, rules())
    assert (known.tests, known.accepted) == counts


def test_an_aborted_test_is_no_evidence() -> None:
    assert after(state(), ended(Verdict.ABORTED), seen(), NOW, rules()).past == ()


def test_the_level_falls_with_tests_and_rises_with_acceptances() -> None:
    def alpha(tests: int, accepted: int, fdr: Fdr = Fdr.E_LOND) -> float:
        policy = rules(fdr=fdr, plan=replace(PLAN, max_pairs=60))
        begun = decide(state(tests=tests, accepted=accepted), seen(), policy=policy)
        assert begun.state.experiment is not None, begun.reason
        return begun.state.experiment.plan.alpha

    assert alpha(0, 0) == level(PLAN.alpha, 0, 0) < PLAN.alpha
    assert alpha(9, 0) < alpha(9, 3) < alpha(0, 0)
    assert alpha(9, 3, Fdr.NONE) == PLAN.alpha


def test_a_level_that_the_budget_cannot_reach_is_refused_with_figures() -> None:
    stream = rules(fdr=Fdr.E_LOND)
    refused = decide(state(tests=2000), seen(), Scripted(effect=None), policy=stream)
    assert refused.action is Action.HOLD
    assert "pairs at least" in refused.reason


# ---- the workload
def test_the_first_traffic_is_what_the_incumbent_is_taken_to_be_tuned_for() -> None:
    known = decide(state(idle_until=9e9), seen(), policy=DRIFTING).state
    assert known.tuned_for == mark_of(traffic().workload)
    assert known.moved_since is None
    assert decide(state(idle_until=9e9), seen()).state.tuned_for is None, "off unless asked for"


def moved(at: float, known: TunerState, **workload: float) -> TunerState:
    world = seen(traffic=traffic(**workload))  # type: ignore[arg-type]
    return decide(known, world, Scripted(offer=None), policy=DRIFTING, now=at).state


def tuned(**changes: object) -> TunerState:
    mark = mark_of(traffic().workload)
    return state(**{"tuned_for": mark, "past": (TRIAL,), "previous": FAR, "stale": 1, **changes})


@pytest.mark.parametrize("workload", [{"rate_rps": 4.1}, {"rate_rps": 0.9}, {"prompt_tokens": 201}])
def test_past_trials_are_forgotten_once_the_workload_has_moved_for_long(
    workload: dict[str, float],
) -> None:
    known = moved(NOW, tuned(), **workload)
    assert known.moved_since == NOW
    known = replace(known, idle_until=0.0)
    assert moved(NOW + 599, known, **workload).past == (TRIAL,)
    late = moved(NOW + 600, known, **workload)
    assert late.past == ()
    assert late.evidence_since == NOW
    assert late.moved_since is None
    assert late.tuned_for == mark_of(traffic(**workload).workload)  # type: ignore[arg-type]


def test_it_is_said_what_moved() -> None:
    known = tuned(moved_since=NOW - 700)
    told = decide(known, seen(traffic=traffic(rate_rps=5.0)), policy=DRIFTING)
    assert told.action is Action.HOLD
    assert "requests per second 2→5" in told.reason


def test_a_workload_that_comes_back_or_hardly_moves_is_the_same_one() -> None:
    known = moved(NOW, tuned(), rate_rps=5.0)
    back = moved(NOW + 300, known, rate_rps=2.0)
    assert back.moved_since is None
    assert moved(NOW + 900, tuned(), rate_rps=3.9).moved_since is None


def test_too_little_traffic_says_nothing_of_the_workload() -> None:
    few = seen(traffic=traffic(requests=3, rate_rps=50.0))
    assert decide(tuned(), few, policy=DRIFTING).state.moved_since is None


def test_quarantine_outlives_the_drift() -> None:
    known = tuned(moved_since=NOW - 700, quarantined={NEW.digest: NOW + 9})
    assert moved(NOW, known, rate_rps=9.0).quarantined == {NEW.digest: NOW + 9}


def test_the_incumbent_is_set_against_the_one_before_it_once() -> None:
    again = replace(DRIFTING, retest=True)
    known = tuned(moved_since=NOW - 700)
    world = seen(traffic=traffic(rate_rps=5.0))
    known = decide(known, world, policy=again).state
    known = replace(known, idle_until=0.0, previous=NEW)
    decision = decide(known, world, policy=again, now=NOW + 5)
    assert decision.action is Action.START
    experiment = decision.state.experiment
    assert experiment is not None
    assert experiment.treatment == NEW
    assert experiment.proposer == "retest"
    assert "requests per second 2→5" in experiment.rationale
    assert decision.state.retest == ""


def test_without_the_rule_or_a_previous_incumbent_nothing_is_retested() -> None:
    world = seen(traffic=traffic(rate_rps=5.0))
    for policy, previous in ((DRIFTING, NEW), (replace(DRIFTING, retest=True), None)):
        known = replace(tuned(moved_since=NOW - 700), previous=previous)
        known = replace(decide(known, world, policy=policy).state, idle_until=0.0)
        proposer = Scripted(offer=None)
        decide(known, world, proposer, policy=policy)
        assert len(proposer.shown) == 1
        assert proposer.shown[0].past == ()


def test_an_accepted_candidate_is_tuned_for_the_workload_that_it_won_under() -> None:
    played = play(better=True, policy=DRIFTING)
    assert played.state.incumbent == NEW
    assert played.state.previous == OLD
    assert played.state.tuned_for == mark_of(traffic().workload)
    assert played.live.settings == NEW != LIVE.settings


def test_what_was_learnt_before_the_workload_moved_is_not_kept_by_a_win_under_the_new_one() -> None:
    for stale, kept in ((0, 2), (1, 1), (2, 1)):
        before = tuned(moved_since=NOW - 60, stale=stale)
        known = after(before, ended(Verdict.ACCEPTED), seen(), NOW, DRIFTING)
        assert known.past == (TRIAL, *known.past[-1:])[-kept:]
        assert known.past[-1].verdict == Verdict.ACCEPTED
        assert known.evidence_since == NOW - 60
    same = after(tuned(), ended(Verdict.ACCEPTED), seen(), NOW, DRIFTING)
    assert same.past[0] == TRIAL
    assert same.evidence_since == 0.0


def running_since_before_the_move(who: str = "scripted") -> TunerState:
    known = started(DRIFTING)
    assert known.experiment is not None
    experiment = replace(known.experiment, proposer=who)
    mark = mark_of(traffic().workload)
    return replace(known, experiment=experiment, tuned_for=mark, moved_since=NOW + 1)


def test_a_test_that_the_workload_moved_away_from_ends_once_that_has_lasted() -> None:
    other = seen(traffic=traffic(prompt_tokens=500))
    known = running_since_before_the_move()
    going_on = decide(known, other, policy=DRIFTING, now=NOW + 600)
    assert going_on.state.experiment is not None
    decision = decide(known, other, policy=DRIFTING, now=NOW + 601)
    assert decision.action is Action.ROLLBACK
    assert decision.apply == OLD
    assert "the workload moved (median of prompt tokens 100→500" in decision.reason
    assert decision.state.past == ()
    rested = replace(decision.state, idle_until=0.0)
    assert decide(rested, other, policy=DRIFTING, now=NOW + 700).state.evidence_since == NOW + 1


def test_a_test_goes_on_under_the_workload_that_it_began_with_or_a_person_asked_for() -> None:
    other = seen(traffic=traffic(prompt_tokens=500))
    known = running_since_before_the_move()
    begun_after = replace(known, moved_since=NOW - 1)
    asked_for = running_since_before_the_move("declared by alice")
    for case, world in ((begun_after, other), (asked_for, other), (known, seen())):
        decision = decide(case, world, policy=DRIFTING, now=NOW + 700)
        assert decision.state.experiment is not None


def test_tests_that_began_after_the_workload_moved_are_not_forgotten_with_those_before() -> None:
    other = {"prompt_tokens": 500}
    known = moved(NOW, tuned(), **other)
    assert known.stale == 1
    fresh = replace(TRIAL, treatment=FAR)
    known = replace(known, past=(*known.past, fresh), idle_until=0.0)
    late = moved(NOW + 600, known, **other)
    assert late.past == (fresh,)
    assert late.evidence_since == NOW


def test_a_test_that_runs_when_the_workload_moves_counts_among_those_before() -> None:
    known = replace(started(DRIFTING), past=(TRIAL,), tuned_for=mark_of(traffic().workload))
    assert moved(NOW + 1, known, prompt_tokens=500).stale == 2
