from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.abtest.design import needed_pairs
from autotuner.commands.experiment_cost import cost_of, effect_of, noise_of, refusal_of
from autotuner.domain.experiment import (
    Design,
    Experiment,
    Guardrail,
    Pair,
    Plan,
    SlotOutcome,
)
from autotuner.domain.knobs import Settings
from autotuner.domain.measures import MEASURES, measure
from autotuner.report.numbers import gain

PLAN = Plan(slot_s=60.0, max_pairs=20)
ATTAINMENT, P95 = measure("attainment"), measure("e2el_p95")


def slot(e2el_p95_s: float) -> SlotOutcome:
    return SlotOutcome(20, 18, 0, 0, 50.0, 0.8, 0.1, 2.0, 2000, 900, e2el_p95_s=e2el_p95_s)


def past_test(differences: list[float], plan: Plan = PLAN, p95_ratio: float = 1.1) -> Experiment:
    """A test with these differences of its outcome, whose P95 went up and down by the ratio."""
    pairs = tuple(
        Pair(k, d, slot(2.0), slot(2.0 * p95_ratio ** (1 if k % 2 else -1)), adjustment=d / 2)
        for k, d in enumerate(differences)
    )
    one = Settings({"a": 1})
    return Experiment("e", "chat", one, one, plan, 1, 0.0, pairs=pairs)


def test_the_noise_is_pooled_around_each_tests_own_mean() -> None:
    past = [past_test([0.3, 0.1] * 3), past_test([-0.5, -0.7] * 2)]
    noise = noise_of(ATTAINMENT, 0.5, PLAN, past)
    # Every difference is 0.1 from its test's mean; ten of them, two means: eight degrees.
    assert noise.sd == pytest.approx(math.sqrt(10 * 0.01 / 8))
    assert (noise.pairs, noise.tests, noise.measured) == (10, 2, True)


def test_too_few_pairs_leave_the_plans_own_scale() -> None:
    for past in ([], [past_test([0.1])] * 9, [past_test([0.1, 0.3, 0.2])], [past_test([0.2] * 20)]):
        noise = noise_of(ATTAINMENT, 0.5, PLAN, past)
        assert (noise.sd, noise.measured) == (0.5, False)


def test_only_tests_of_the_same_design_tell() -> None:
    past = [past_test([0.3, 0.1] * 5)]
    split = replace(PLAN, design=Design.SPLIT)
    assert not noise_of(ATTAINMENT, 0.5, split, past).measured
    assert noise_of(ATTAINMENT, 0.5, split, [past_test([0.3, 0.1] * 5, split)]).measured


def test_longer_slots_scatter_less() -> None:
    past = [past_test([0.3, 0.1] * 5)]
    longer = replace(PLAN, slot_s=240.0)
    half = noise_of(ATTAINMENT, 0.5, longer, past).sd
    assert half == pytest.approx(noise_of(ATTAINMENT, 0.5, PLAN, past).sd / 2)


def test_covariates_lower_the_noise_of_the_outcome_where_the_plan_has_them() -> None:
    past = [past_test([0.3, 0.1] * 5)]
    with_covariates = replace(PLAN, covariates=("offered_load",))
    half = noise_of(ATTAINMENT, 0.5, with_covariates, past).sd
    assert half == pytest.approx(noise_of(ATTAINMENT, 0.5, PLAN, past).sd / 2)


def test_another_measure_is_read_from_what_was_served() -> None:
    noise = noise_of(P95, 0.5, PLAN, [past_test([0.0] * 10)])
    assert noise.sd == pytest.approx(math.log(1.1) * math.sqrt(10 / 9))


def test_a_measure_that_was_never_taken_has_no_noise() -> None:
    assert not noise_of(measure("quality"), 0.1, PLAN, [past_test([0.3, 0.1] * 9)]).measured


def test_what_the_outcome_and_each_guardrail_need() -> None:
    plan = replace(
        PLAN, prior_sd=0.1, guardrails=(Guardrail("e2el_p95", 0.5, 0.2), Guardrail("quality", 0.1))
    )
    cost = cost_of(plan, [], effect=0.1)
    assert cost.outcome.pairs == needed_pairs(1.0) == 17
    assert [need.pairs for need in cost.guardrails] == [
        needed_pairs(math.log(1.5) / 0.2),
        needed_pairs(1.0),
    ]
    assert cost.pairs == 17
    assert all(cost.fits(need) for need in cost.needs)
    assert refusal_of(cost) is None


def test_without_an_effect_the_least_that_fits_is_told() -> None:
    cost = cost_of(replace(PLAN, max_pairs=18), [])
    assert math.isnan(cost.outcome.pairs)
    assert cost.pairs == 0
    assert needed_pairs(cost.smallest_effect / 0.1) == 18
    assert needed_pairs(cost.smallest_effect * 0.999 / 0.1) > 18


def test_a_gain_that_a_share_can_not_have_is_not_promised() -> None:
    assert math.isnan(cost_of(replace(PLAN, prior_sd=2.0), []).smallest_effect)
    strict = replace(PLAN, max_pairs=7, alpha=1e-6)
    assert math.isnan(cost_of(strict, []).smallest_effect)


def test_a_stricter_level_needs_more_pairs() -> None:
    strict = cost_of(replace(PLAN, alpha=0.001), [], effect=0.1)
    assert strict.outcome.pairs > cost_of(PLAN, [], effect=0.1).outcome.pairs


def test_measured_noise_decides_what_is_refused() -> None:
    plan = replace(PLAN, prior_sd=0.01, guardrails=(Guardrail("e2el_p95", 0.05, 0.01),))
    assert refusal_of(cost_of(plan, [], effect=0.05)) is None
    noisy = [past_test([0.3, -0.1] * 8)]
    assert "an effect of +0.050" in (refusal_of(cost_of(plan, noisy, effect=0.05)) or "")
    assert "guardrail e2el_p95" in (refusal_of(cost_of(plan, noisy)) or "")


@given(st.sampled_from(list(MEASURES.values())), st.floats(-90, 90))
@settings(deadline=None, max_examples=50)
def test_a_gain_as_people_say_it_comes_back(found: object, told: float) -> None:
    named = measure(getattr(found, "name", ""))
    assert gain(named, effect_of(named, told)) == pytest.approx(told, abs=1e-9)


def test_nothing_falls_by_more_than_all_of_it() -> None:
    assert math.isnan(effect_of(P95, 100))
    assert math.isnan(effect_of(measure("goodput"), -100))
