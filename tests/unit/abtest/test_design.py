"""The coin and the planning rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.abtest.design import arm_of, arms_of, needed_pairs, plan_check
from autotuner.abtest.eprocess import log_e_paths
from autotuner.domain.experiment import Arm, Guardrail, Plan


@given(st.integers(), st.integers(0, 10_000))
def test_a_pair_has_one_slot_of_each_arm(seed: int, pair: int) -> None:
    assert {arm_of(seed, 2 * pair), arm_of(seed, 2 * pair + 1)} == set(Arm)


@given(st.integers(), st.integers(0, 10_000))
def test_two_lanes_have_both_arms_at_any_time(seed: int, period: int) -> None:
    first, second = arms_of(seed, period, 2)
    assert first is arm_of(seed, period)
    assert second is first.other
    assert arms_of(seed, period, 1) == (first,)


def test_the_coin_is_fair_and_without_memory() -> None:
    heads = np.array(
        [[arm_of(seed, 2 * pair) is Arm.TREATMENT for pair in range(100)] for seed in range(100)]
    )
    assert abs(heads.mean() - 0.5) < 0.015  # 3 standard errors
    assert abs((heads[:, 1:] == heads[:, :-1]).mean() - 0.5) < 0.015
    assert abs((heads[1:] == heads[:-1]).mean() - 0.5) < 0.015


def test_the_coin_never_changes_its_mind() -> None:
    first = "".join("T" if arm_of(7, 2 * pair) is Arm.TREATMENT else "C" for pair in range(12))
    assert first == "TCTCCTTTCCCC"


def test_needed_pairs_follows_the_measured_table() -> None:
    assert [needed_pairs(g) for g in (3, 2, 1.5, 1, 0.5, 0.25)] == [7, 7, 10, 17, 52, 196]
    assert needed_pairs(10) == 7
    assert needed_pairs(0.1) == 1235
    for hopeless in (0.0, -1.0, math.nan):
        assert needed_pairs(hopeless) == math.inf


@given(st.floats(0.01, 5), st.floats(0.01, 5))
def test_a_larger_effect_never_needs_more(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    assert needed_pairs(low) >= needed_pairs(high) >= 7


@pytest.mark.parametrize("g", [0.7, 1.2, 2.5])
def test_four_of_five_tests_end_within_the_needed_pairs(g: float) -> None:
    pairs = int(needed_pairs(g))
    draws = np.random.default_rng(3).normal(g, 1, (1500, pairs))
    accepted = (log_e_paths(draws, 1.0).max(axis=1) >= math.log(20)).mean()
    assert accepted > 0.75  # between the table's points the rule is allowed to be generous


@pytest.mark.parametrize(("g", "alpha"), [(0.7, 0.01), (1.0, 0.002), (2.0, 0.001)])
def test_a_stricter_level_needs_the_pairs_that_it_says(g: float, alpha: float) -> None:
    pairs = int(needed_pairs(g, alpha))
    assert pairs > needed_pairs(g)
    draws = np.random.default_rng(5).normal(g, 1, (1500, pairs))
    accepted = (log_e_paths(draws, 1.0).max(axis=1) >= -math.log(alpha)).mean()
    assert 0.7 < accepted < 0.92


def test_a_laxer_level_is_not_counted_on() -> None:
    assert needed_pairs(1.0, 0.2) == needed_pairs(1.0)


def test_plan_check_refuses_what_cannot_end_and_says_the_figures() -> None:
    plan = Plan(max_pairs=30)
    assert plan_check(0.1, 0.1, plan) is None
    refusal = plan_check(0.02, 0.1, plan)
    assert refusal is not None
    assert "+0.020" in refusal
    assert "313 pairs (939 min)" in refusal
    assert "allows 30 (90 min)" in refusal


@pytest.mark.parametrize(
    ("effect", "sd", "plan", "text"),
    [
        (-0.1, 0.1, Plan(), "no improvement"),
        (math.nan, 0.1, Plan(), "finite"),
        (0.1, math.nan, Plan(), "finite"),
        (0.5, 0.0, Plan(max_pairs=6), "needs about 7 pairs"),
        (0.5, 0.1, Plan(slot_s=5, cooldown_s=5), "slot_s=5"),
    ],
)
def test_plan_check_names_what_is_wrong(effect: float, sd: float, plan: Plan, text: str) -> None:
    assert text in (plan_check(effect, sd, plan) or "")


def test_a_guardrail_that_can_never_be_proven_is_refused_beforehand() -> None:
    rails = (Guardrail("e2el", 0.1, 0.05), Guardrail("error_share", 0.02, 0.05))
    refusal = plan_check(0.1, 0.1, Plan(guardrails=rails)) or ""
    assert "guardrail error_share: a margin of 0.02 against a pair noise of 0.05" in refusal
    assert "widen its margin" in refusal
    assert plan_check(0.1, 0.1, Plan(guardrails=rails[:1])) is None


def test_of_a_test_whose_effect_nobody_foretold_only_the_plan_is_judged() -> None:
    assert plan_check(None, 0.1, Plan()) is None
    assert "slot_s=5" in (plan_check(None, 0.1, Plan(slot_s=5, cooldown_s=5)) or "")
    assert "guardrail" in (plan_check(None, 0.1, Plan(guardrails=(Guardrail("e2el", 0.01),))) or "")


def test_plan_check_counts_with_the_level_of_the_test() -> None:
    assert plan_check(0.1, 0.1, Plan(max_pairs=30)) is None
    refusal = plan_check(0.1, 0.1, Plan(max_pairs=30, alpha=0.001)) or ""
    assert "35 pairs at α = 0.001" in refusal
