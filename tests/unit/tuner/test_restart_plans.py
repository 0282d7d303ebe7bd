"""How a test is planned whose changes of arms take a restart, and when it can't pay."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.abtest.planning import with_restarts
from autotuner.domain.experiment import Design, Plan
from autotuner.domain.knobs import Knob, KnobSpace
from autotuner.tuner import Action, Decision
from autotuner.tuner.rebuilds import too_late
from tests.unit.tuner.world import (
    LIVE,
    PLAN,
    Scripted,
    asked,
    decide,
    rules,
    seen,
    state,
)

SPACE = KnobSpace((Knob("seqs", (4, 8, 16, 32), live=False), Knob("tokens", (64, 128, 256))))
ROOMY = replace(PLAN, slot_s=100, washout_max_s=10, max_pairs=60)
BUILT = rules(space=SPACE, plan=ROOMY)


def told(restart_s: float, steady_for_s: float = math.inf, **changes: object) -> Decision:
    live = replace(LIVE, restart_s=restart_s)
    world = seen(live, steady_for_s=steady_for_s)
    return decide(state(**changes), world, Scripted(effect=0.3), BUILT)


def plan_of(decision: Decision) -> Plan:
    assert decision.state.experiment is not None, decision.reason
    return decision.state.experiment.plan


def test_a_policy_may_have_shorter_slots_between_restarts() -> None:
    plan = with_restarts(replace(ROOMY, slot_restarts=3.0), 40.0)
    assert plan.slot_s == max(ROOMY.slot_s, 120.0)
    assert plan.max_pairs > with_restarts(ROOMY, 40.0).max_pairs


def test_slots_are_ten_restarts_long_within_the_policy_s_time() -> None:
    plan = plan_of(told(40.0))
    assert (plan.restart_s, plan.slot_s) == (40.0, 400.0)
    assert plan.max_pairs == int(ROOMY.budget_s / (2 * (400 + 10 + 40)))
    assert plan.budget_s <= ROOMY.budget_s
    short = plan_of(told(3.0))
    assert (short.restart_s, short.slot_s) == (3.0, 100.0)


def test_where_answers_are_the_outcome_slots_stay_as_they_are() -> None:
    plan = with_restarts(replace(ROOMY, outcome="quality"), 40.0)
    assert (plan.restart_s, plan.slot_s) == (40.0, 100.0)
    assert plan.max_pairs == int(ROOMY.budget_s / (2 * (100 + 10 + 40)))


def test_what_tests_saw_goes_before_the_target_s_word() -> None:
    assert plan_of(told(40.0, rebuild_s=20.0)).restart_s == 20.0


def test_live_knobs_and_unknown_restarts_change_no_plan() -> None:
    assert plan_of(told(math.nan)) == ROOMY
    live = replace(LIVE, restart_s=40.0)
    offer = Scripted(state().incumbent.with_values(tokens=128), effect=0.3)
    assert plan_of(decide(state(), seen(live), offer, BUILT)) == ROOMY


def test_replicas_restart_in_turn() -> None:
    both = replace(BUILT, replicas=2, plan=replace(ROOMY, design=Design.SPLIT))
    live = replace(LIVE, restart_s=20.0)
    plan = plan_of(decide(state(), seen(live), Scripted(effect=0.3), both))
    assert (plan.restart_s, plan.slot_s) == (40.0, 400.0)


def test_what_does_not_fit_is_refused_with_the_figures() -> None:
    refused = told(120.0)
    assert refused.action is Action.HOLD
    assert "a restart takes 120 s, so that slots last 1200 s" in refused.reason
    assert "7 pairs" in refused.reason
    assert "the plan allows 220 min" in refused.reason
    live = replace(LIVE, restart_s=120.0)
    declared = decide(state(), seen(live, declared=asked(ROOMY, seqs=8)), policy=BUILT)
    assert "a restart takes 120 s" in declared.reason


def test_a_longer_slot_never_takes_more_than_the_budget() -> None:
    for restart_s in (1.0, 7.0, 30.0, 90.0):
        plan = with_restarts(ROOMY, restart_s)
        assert plan.slot_s >= 10 * restart_s
        assert plan.budget_s <= ROOMY.budget_s or plan.max_pairs == 1
    assert with_restarts(ROOMY, 0.0) is ROOMY


def test_the_whole_test_has_to_end_before_the_load_changes() -> None:
    decision = told(40.0, steady_for_s=5000.0)
    assert decision.action is Action.HOLD
    assert "a restart takes 40 s" in decision.reason
    assert "pairs of 400 s slots" in decision.reason
    assert "in 5000 s the forecast has another load" in decision.reason
    assert told(40.0, steady_for_s=20_000.0).action is Action.START


@pytest.mark.parametrize(
    ("effect", "steady_for_s", "words"),
    [
        (0.3, 5_000.0, "in 5000 s the forecast has another load"),
        (0.3, 8_000.0, None),
        (0.05, 6_400.0, "its 14 restarts cost as much as 504 s of good service"),
        (0.05, 20_000.0, None),
        (0.3, math.inf, None),
        (None, 5_000.0, "has another load"),
        (None, 8_000.0, None),
    ],
)
def test_what_a_test_costs_against_what_it_can_bring(
    effect: float | None, steady_for_s: float, words: str | None
) -> None:
    plan = with_restarts(replace(ROOMY, prior_sd=0.02), 40.0)
    said = too_late(plan, effect, 0.9, steady_for_s)
    assert (said is None) == (words is None), said
    assert words is None or words in (said or "")


def test_a_gain_of_another_kind_is_not_weighed_against_service() -> None:
    plan = with_restarts(replace(ROOMY, prior_sd=0.02, outcome="cost"), 40.0)
    assert too_late(plan, 0.05, 0.9, 6_400.0) is None
