"""The figures beyond the experiment's own fields."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from autotuner.abtest.design import needed_pairs
from autotuner.abtest.standing import Standing
from autotuner.domain.experiment import Arm, GuardrailLook
from autotuner.report.facts import (
    duration_s,
    exclusions,
    extra_suffering,
    guardrail_facts,
    harm_confidences,
    is_aa,
    kept_confidences,
    power,
    toll,
)
from tests.unit.report.report_examples import (
    BEGAN,
    Service,
    aa,
    accepted,
    all_excluded,
    drawn,
    harmful,
    running,
    split,
    without_pairs,
)


def test_the_toll_sums_the_judged_slots_of_an_arm() -> None:
    test = harmful()
    mine = [s.outcome for s in test.slots if s.arm is Arm.TREATMENT and s.outcome]
    paid = toll(test, Arm.TREATMENT)
    assert paid.requests == sum(o.requests for o in mine)
    assert paid.suffered == sum(o.requests - o.good for o in mine)
    assert paid.failed > 0
    assert paid.suffered_share == paid.suffered / paid.requests


def test_excluded_slots_were_served_too() -> None:
    assert toll(all_excluded(), Arm.TREATMENT).requests > 0


def test_extra_suffering_is_against_the_controls_share() -> None:
    test = harmful()
    control, treatment = toll(test, Arm.CONTROL), toll(test, Arm.TREATMENT)
    expected = treatment.requests * (treatment.suffered_share - control.suffered_share)
    assert extra_suffering(test) == pytest.approx(expected)
    assert extra_suffering(test) > 0
    assert math.isnan(extra_suffering(without_pairs()))


def test_duration_is_the_callers_when_it_ended_and_the_slots_before() -> None:
    assert duration_s(accepted(), BEGAN + 900) == 900
    test = running()
    assert test.current_slot is not None
    assert duration_s(test, None) == pytest.approx(
        (test.current_slot.counted_from or 0) - test.slots[0].started_at
        if test.current_slot.counted_from
        else test.current_slot.started_at - test.slots[0].started_at
    )
    assert duration_s(without_pairs(), None) == 0


def test_only_equal_arms_are_an_aa() -> None:
    assert is_aa(aa())
    assert not is_aa(accepted())


def test_exclusions_name_the_slot_at_fault_and_its_mate() -> None:
    (one,) = exclusions(accepted())
    assert one.reason == "too few requests (3, at least 10 are needed)"
    assert (one.slots, one.mates) == ((5,), (4,))


def test_equal_reasons_stand_together() -> None:
    (one,) = exclusions(all_excluded())
    assert (one.slots, one.mates) == ((0, 2, 4), (1, 3, 5))


def test_confidences_never_fall() -> None:
    looks = aa().looks
    for path in (harm_confidences(looks), kept_confidences(looks, "gap_p95")):
        assert len(path) == len(looks)
        assert all(a <= b for a, b in itertools.pairwise(path))
        assert all(0 <= value < 1 for value in path)


def test_a_measure_that_no_look_has_was_never_kept() -> None:
    assert set(kept_confidences(aa().looks, "energy")) == {0.0}


def test_where_guardrails_stand() -> None:
    facts = {fact.measure.name: fact.standing for fact in guardrail_facts(aa())}
    assert set(facts.values()) == {Standing.KEPT}
    early = drawn(2, Service(0.7), Service(0.7))
    assert {f.standing for f in guardrail_facts(early)} == {Standing.UNPROVEN}
    assert {f.standing for f in guardrail_facts(without_pairs())} == {Standing.UNMEASURED}


def test_a_guardrail_breaks_at_the_level_shared_by_all_that_is_watched() -> None:
    test, watched = drawn(2, Service(0.7), Service(0.7)), 4  # the primary and three guardrails
    line = math.log(watched / test.plan.alpha)
    for log_e, standing in ((line - 0.01, Standing.UNPROVEN), (line + 0.01, Standing.BROKEN)):
        seen = GuardrailLook("gap_p95", 2, 0.0, log_e, -0.5, -1.0, -0.1)
        looks = (*test.looks[:-1], replace(test.looks[-1], guardrails=(seen,)))
        facts = guardrail_facts(replace(test, looks=looks))
        assert facts[1].standing is standing


def test_power_is_told_from_the_noise_seen() -> None:
    test = aa()
    found = power(test)
    assert found.seen
    assert found.sd == pytest.approx(0.087, abs=0.02)
    effect, pairs = found.points[0]
    assert pairs == needed_pairs(effect / found.sd, test.plan.alpha)
    budget = test.plan.max_pairs
    assert needed_pairs(found.smallest_effect / found.sd, test.plan.alpha) <= budget
    assert needed_pairs(0.98 * found.smallest_effect / found.sd, test.plan.alpha) > budget


def test_power_without_pairs_is_told_from_the_plan() -> None:
    found = power(without_pairs())
    assert not found.seen
    assert found.sd == without_pairs().plan.prior_sd


def test_no_effect_of_a_share_is_above_one() -> None:
    test = drawn(0, Service(0.7), Service(0.7))
    found = power(replace(test, plan=replace(test.plan, prior_sd=0.9, max_pairs=7)))
    assert all(effect <= 1 for effect, _ in found.points)
    assert math.isnan(found.smallest_effect)


def test_a_split_counts_the_slots_of_both_lanes() -> None:
    test = split()
    assert toll(test, Arm.CONTROL).slots == toll(test, Arm.TREATMENT).slots == len(test.slots) / 2
