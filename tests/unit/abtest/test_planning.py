"""Plans from noise: the rule for slots, the fastest length, and what can't be done at all."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.abtest.design import needed_pairs, plan_check
from autotuner.abtest.planning import (
    Noise,
    NoisePoint,
    described,
    expected_pairs,
    feasible,
    planned,
    smallest_effect,
)
from autotuner.domain.experiment import Design, Guardrail, Plan

BASE = Plan(slot_s=60, washout_min_s=5, washout_max_s=30, cooldown_s=5, max_pairs=30)


def noise(sd: float = 0.1, tau_s: float = math.nan, rate_rps: float = 10.0) -> Noise:
    """Of independent seconds: the noise falls with the root of the length."""
    points = tuple(NoisePoint(60.0 * k, sd / math.sqrt(k), 9) for k in (1, 2, 4))
    return Noise("attainment", Design.SWITCHBACK, points, tau_s, rate_rps)


def test_a_target_that_forgets_at_once_keeps_the_policy_s_slots() -> None:
    plan = planned(BASE, noise(tau_s=0.0))
    assert (plan.slot_s, plan.washout_min_s, plan.washout_max_s) == (60, 5, 30)
    assert plan.max_pairs == 30
    assert plan.prior_sd == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("tau_s", "slot_s", "washout_s"), [(8, 60, 8), (20, 120, 20), (40, 240, 40)]
)
def test_slots_are_six_times_and_washout_once_the_relaxation(
    tau_s: float, slot_s: float, washout_s: float
) -> None:
    plan = planned(BASE, noise(tau_s=tau_s))
    assert plan.slot_s == pytest.approx(slot_s)
    assert plan.washout_min_s == pytest.approx(washout_s)
    assert plan.washout_max_s >= plan.washout_min_s
    assert plan.budget_s <= BASE.budget_s + 1e-6


def test_few_requests_make_slots_longer() -> None:
    plan = planned(BASE, noise(rate_rps=0.1))
    assert plan.slot_s == pytest.approx(2 * BASE.min_requests_per_slot / 0.1 + BASE.cooldown_s)
    ratios = replace(BASE, outcome="e2el")
    assert planned(ratios, noise(rate_rps=1.0)).slot_s == pytest.approx(105.0)


def test_two_lanes_share_the_requests() -> None:
    split = replace(BASE, design=Design.SPLIT)
    assert planned(split, noise(rate_rps=0.2)).slot_s == pytest.approx(205.0)


def test_longer_slots_leave_fewer_pairs_of_the_same_budget() -> None:
    plan = planned(BASE, noise(tau_s=40.0))
    assert plan.max_pairs == int(BASE.budget_s // (2 * (plan.slot_s + plan.washout_max_s)))


def test_a_test_that_cannot_end_in_its_budget_is_refused_with_figures() -> None:
    plan = planned(BASE, noise(tau_s=80.0), 0.05)
    refusal = plan_check(0.05, plan.prior_sd, plan)
    assert refusal is not None
    assert "pairs" in refusal
    assert "min" in refusal


def test_the_length_that_ends_the_test_first_is_chosen() -> None:
    effect = 0.06
    chosen = planned(BASE, noise(), effect)
    others = [replace(chosen, slot_s=s, prior_sd=noise().pair_sd(s)) for s in (60, 90, 120, 240)]

    def total_s(plan: Plan) -> float:
        return 2 * expected_pairs(plan, effect) * (plan.slot_s + plan.washout_max_s)

    assert all(total_s(chosen) <= total_s(other) + 1e-6 for other in others)
    assert chosen.slot_s > BASE.slot_s, "the washout is a third of the shortest slot"
    assert planned(BASE, noise(), 5.0).slot_s == BASE.slot_s, "seven pairs need the least time"


def test_noise_between_and_beyond_the_measured_lengths() -> None:
    seen = Noise("attainment", Design.SWITCHBACK, (NoisePoint(60, 0.2, 9), NoisePoint(120, 0.1, 9)))
    assert seen.pair_sd(90) == pytest.approx(0.15)
    assert seen.pair_sd(60) == pytest.approx(0.2)
    assert seen.pair_sd(480) == pytest.approx(0.05)
    assert seen.pair_sd(15) == pytest.approx(0.4)


def test_a_lucky_calm_is_not_taken_at_its_word() -> None:
    assert planned(BASE, noise(sd=0.0)).prior_sd == pytest.approx(0.1 * BASE.prior_sd)


def test_guardrails_get_the_noise_that_was_measured_of_them() -> None:
    guarded = replace(
        BASE, guardrails=(Guardrail("ttft_p95", 0.1, 0.3), Guardrail("quality", 0.02, 0.04))
    )
    points = (NoisePoint(60, 0.1, 9, (("ttft_p95", 0.2),)),)
    plan = planned(guarded, Noise("attainment", Design.SWITCHBACK, points, 0.0, 10.0))
    assert [g.prior_sd for g in plan.guardrails] == [pytest.approx(0.2), 0.04]


def test_noise_of_another_measure_or_design_does_not_suit() -> None:
    assert noise().suits(BASE)
    assert not noise().suits(replace(BASE, outcome="e2el"))
    assert not noise().suits(replace(BASE, design=Design.SPLIT))


def test_the_smallest_effect_is_the_one_that_just_fits() -> None:
    effect = smallest_effect(BASE)
    assert needed_pairs(1.01 * effect / BASE.prior_sd, BASE.alpha) <= BASE.max_pairs
    assert needed_pairs(0.9 * effect / BASE.prior_sd, BASE.alpha) > BASE.max_pairs
    assert math.isinf(smallest_effect(replace(BASE, max_pairs=5)))


def test_what_no_effect_could_decide_is_refused_with_figures() -> None:
    assert feasible(BASE, 10.0) is None
    few = feasible(replace(BASE, max_pairs=5), 10.0)
    assert few is not None
    assert "7 pairs at least" in few
    strict = feasible(replace(BASE, max_pairs=8, alpha=1e-6), 10.0)
    assert strict is not None
    empty = feasible(BASE, 0.05)
    assert empty is not None
    assert "10 are needed" in empty


def test_a_plan_in_words() -> None:
    assert "measured on 9 pairs" in described(BASE, noise())
    assert "the policy's" in described(BASE, None)
