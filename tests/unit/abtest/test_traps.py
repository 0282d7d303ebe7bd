"""Data on which careless judges of canaries go wrong, each through a whole test to its verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from autotuner.domain.experiment import Arm, Experiment, Guardrail, HardLimits, Plan, Verdict
from autotuner.domain.telemetry import Outcome
from tests.unit.abtest.scripted_target import (
    Moment,
    Script,
    ScriptedTarget,
    run,
    verdict,
)
from tests.unit.abtest.virtual_target import Reply

PLAN = Plan(slot_s=20, washout_min_s=4, washout_max_s=12, cooldown_s=2, max_pairs=14, prior_sd=0.1)
NO_LIMITS = HardLimits(max_error_share=1.0, tail_factor=math.inf)
UNDECIDED = {Verdict.REJECTED, Verdict.INCONCLUSIVE}
MEASURES = ("attainment", "goodput", "e2el", "ttft_p95", "throughput")


@dataclass
class Lognormal:
    """Whole-request times of a given mean; the first token comes after a fifth of one."""

    sigma: float = 0.4
    seed: int = 5

    def __post_init__(self) -> None:
        self._draws = np.random.default_rng(self.seed)

    def __call__(self, mean_s: float, sigma: float | None = None) -> Reply:
        width = self.sigma if sigma is None else sigma
        took = mean_s * float(np.exp(self._draws.normal(-(width**2) / 2, width)))
        return Reply(took / 5, took)


def alike(moment: Moment) -> Reply:
    """Arms that do the same, with noise that hangs on the request's number alone."""
    wave = 1 + 0.3 * math.sin(moment.number * 2.399)
    return Reply(0.2 * wave, wave)


def conducted(script: Script, plan: Plan = PLAN, rate_rps: float = 5.0) -> Experiment:
    return run(ScriptedTarget(script, rate_rps=rate_rps), plan)


def ended(test: Experiment) -> Verdict:
    assert test.conclusion is not None
    return test.conclusion.verdict


# ---- nothing to judge
@pytest.mark.parametrize("outcome", MEASURES)
def test_no_traffic_proves_nothing(outcome: str) -> None:
    kind, why = verdict(conducted(alike, replace(PLAN, outcome=outcome), rate_rps=0.0))
    assert kind == "INCONCLUSIVE"
    assert "no pair counted" in why
    assert "too few requests (0" in why


def test_one_request_proves_nothing() -> None:
    def once(moment: Moment) -> Reply:
        return Reply(0.1, 0.2)

    target = ScriptedTarget(once, rate_rps=1 / 12)  # one in each slot's counted time, or two
    kind, why = verdict(run(target, PLAN))
    assert kind == "INCONCLUSIVE"
    assert "at least 10 are needed" in why


@pytest.mark.parametrize("outcome", MEASURES)
def test_measurements_that_all_failed_prove_nothing(outcome: str) -> None:
    def broken(_moment: Moment) -> Reply:
        return Reply(math.nan, math.nan)

    test = conducted(broken, replace(PLAN, outcome=outcome))
    assert ended(test) is Verdict.INCONCLUSIVE
    assert not test.pairs


@pytest.mark.parametrize("outcome", MEASURES)
def test_a_control_that_was_not_measured_makes_no_treatment_better(outcome: str) -> None:
    def half_blind(moment: Moment) -> Reply:
        return Reply(0.1, 0.5) if moment.treatment else Reply(math.nan, math.nan)

    assert ended(conducted(half_blind, replace(PLAN, outcome=outcome))) is Verdict.INCONCLUSIVE


def test_answers_scored_under_one_arm_alone_prove_nothing() -> None:
    def scored(moment: Moment) -> float | None:
        return 0.99 if moment.treatment else None

    target = ScriptedTarget(alike, quality=scored)
    kind, why = verdict(run(target, replace(PLAN, outcome="quality")))
    assert kind == "INCONCLUSIVE"
    assert "no quality to compare" in why


def test_a_guardrail_scored_under_one_arm_alone_is_not_kept() -> None:
    plan = replace(PLAN, guardrails=(Guardrail("quality", 0.05, 0.05),))
    gain = [Reply(1.5, 2.0), Reply(0.1, 0.5)]

    def scored(moment: Moment) -> float | None:
        return 0.99 if moment.treatment else None

    target = ScriptedTarget(lambda m: gain[m.treatment], quality=scored)
    kind, why = verdict(run(target, plan))
    assert kind == "INCONCLUSIVE"
    assert "the treatment is better, but its guardrail quality of answers was never" in why


# ---- worse, in ways that hide
def mostly_terrible(base_s: float) -> Script:
    """70% take a hundred times as long under the treatment; the others half as long."""

    def serve(moment: Moment) -> Reply:
        factor = (0.5 if moment.number % 10 < 3 else 100.0) if moment.treatment else 1.0
        took = alike(moment).e2el_s * factor * base_s
        return Reply(took / 2, took)

    return serve


@pytest.mark.parametrize("outcome", ["attainment", "goodput", "e2el", "ttft_p95"])
def test_seventy_per_cent_a_hundred_times_worse_is_harm(outcome: str) -> None:
    plan = replace(PLAN, outcome=outcome, limits=NO_LIMITS, max_pairs=12)
    kind, why = verdict(conducted(mostly_terrible(0.1), plan, rate_rps=3.0))
    assert kind == "HARMFUL"
    assert "the treatment is worse" in why


def test_seventy_per_cent_a_hundred_times_worse_is_out_within_two_of_its_slots() -> None:
    test = conducted(mostly_terrible(0.1), PLAN, rate_rps=3.0)
    assert ended(test) is Verdict.HARMFUL
    assert sum(slot.arm is Arm.TREATMENT for slot in test.slots) == 2
    assert "P95 of TTFT was" in verdict(test)[1]
    assert "under the treatment 53 of 82 requests (64.6%) missed the SLO" in verdict(test)[1]


@pytest.mark.parametrize("base_s", [1.0, 1e7], ids=["minutes", "for ever"])
@pytest.mark.parametrize("outcome", ["attainment", "goodput", "e2el"])
def test_requests_so_slow_that_they_outlive_their_slot_are_not_forgotten(
    outcome: str, base_s: float
) -> None:
    """Only the fast ones end within the slot: to judge by them would be a gain."""

    def serve(moment: Moment) -> Reply:
        slow = moment.treatment and moment.number % 10 >= 3
        return Reply(50.0, 100.0 * base_s) if slow else Reply(0.1, 0.5 if moment.treatment else 1.0)

    plan = replace(PLAN, outcome=outcome, limits=NO_LIMITS, max_pairs=14)
    assert ended(conducted(serve, plan, rate_rps=3.0)) is Verdict.HARMFUL


def test_more_variance_at_the_same_mean_is_no_gain_and_its_tail_is_seen() -> None:
    draw = Lognormal()

    def jumpy(moment: Moment) -> Reply:
        return draw(1.0, 1.1 if moment.treatment else 0.3)

    plan = replace(PLAN, outcome="e2el", limits=NO_LIMITS)
    guarded = replace(plan, guardrails=(Guardrail("e2el_p95", 0.1, 0.2),))
    kind, why = verdict(conducted(jumpy, guarded))
    assert kind == "HARMFUL"
    assert "P95 of whole-request time got worse by 10% or more" in why


def test_errors_that_are_fast_are_no_speed() -> None:
    def failing_fast(moment: Moment) -> Reply:
        if moment.treatment and moment.number % 10 == 0:
            return Reply(None, 0.001, Outcome.ERROR)
        fine = alike(moment)
        return replace(fine, e2el_s=fine.e2el_s * (0.8 if moment.treatment else 1))

    plan = replace(PLAN, outcome="e2el")
    limited = conducted(failing_fast, plan)
    kind, why = verdict(limited)
    assert kind == "HARMFUL"
    assert "requests failed under the treatment" in why
    assert sum(slot.arm is Arm.TREATMENT for slot in limited.slots) == 1
    guarded = replace(plan, limits=NO_LIMITS, guardrails=(Guardrail("error_share", 0.02, 0.05),))
    kind, why = verdict(conducted(failing_fast, guarded))
    assert kind == "HARMFUL"
    assert "share of errors got worse by 2 points or more" in why


# ---- equal, in ways that tempt
@pytest.mark.parametrize("outcome", ["error_share", "attainment"])
def test_zeros_with_a_few_others_are_no_difference(outcome: str) -> None:
    draws = np.random.default_rng(8).random(20_000)

    def rarely(moment: Moment) -> Reply:
        rare = draws[moment.number] < 0.004
        if outcome == "error_share" and rare:
            return Reply(None, 0.1, Outcome.ERROR)
        return Reply(0.2 if rare else 3.0, 3.2)

    test = conducted(rarely, replace(PLAN, outcome=outcome, prior_sd=0.02))
    assert ended(test) in UNDECIDED
    assert sum(pair.difference == 0 for pair in test.pairs) >= 3


@pytest.mark.parametrize("slow_arm", [Arm.CONTROL, Arm.TREATMENT])
@pytest.mark.parametrize("outcome", ["e2el", "ttft_p95", "attainment"])
def test_one_slot_three_times_slower_decides_nothing(slow_arm: Arm, outcome: str) -> None:
    draw, struck = Lognormal(0.3), set[int]()

    def one_outlier(moment: Moment) -> Reply:
        if moment.treatment == (slow_arm is Arm.TREATMENT) and moment.generation >= 12:
            struck.add(moment.generation)
        slow = moment.generation == min(struck, default=0)
        return draw(3.0 if slow else 1.0)

    test = conducted(one_outlier, replace(PLAN, outcome=outcome))
    assert struck
    assert ended(test) in UNDECIDED


def cold(draw: Lognormal, gain: float) -> Callable[[Moment], Reply]:
    """Ten times slower in the first three seconds after every switch."""

    def serve(moment: Moment) -> Reply:
        mean_s = 1.0 * (gain if moment.treatment else 1.0)
        return draw(mean_s * (10 if moment.since_switch_s < 3 else 1))

    return serve


@pytest.mark.parametrize("outcome", ["e2el", "attainment"])
def test_cold_first_samples_are_washed_out(outcome: str) -> None:
    plan = replace(PLAN, outcome=outcome)
    equal = conducted(cold(Lognormal(0.3), 1.0), plan)
    assert ended(equal) in UNDECIDED
    better = conducted(cold(Lognormal(0.3), 0.7), replace(plan, outcome="e2el"))
    assert ended(better) is Verdict.ACCEPTED
    assert better.conclusion is not None
    assert better.conclusion.effect == pytest.approx(-math.log(0.7), abs=0.05)


def test_cold_samples_that_no_washout_catches_meet_both_arms_alike() -> None:
    plan = replace(PLAN, outcome="e2el", washout_min_s=0, washout_max_s=2)
    test = conducted(cold(Lognormal(0.3), 1.0), plan)
    assert ended(test) in UNDECIDED
    assert test.conclusion is not None
    assert test.conclusion.effect == pytest.approx(0, abs=0.15)


# ---- a queue left behind
class OneServer:
    """Requests one by one; the treatment can't keep up, and the control finds its queue."""

    def __init__(self, control_s: float, treatment_s: float) -> None:
        self._takes_s, self._free_at = (control_s, treatment_s), 0.0

    def __call__(self, moment: Moment) -> Reply:
        begins = max(moment.now, self._free_at)
        self._free_at = begins + self._takes_s[moment.treatment]
        return Reply(begins - moment.now + 0.05, self._free_at - moment.now)


@pytest.mark.parametrize("limits", [HardLimits(), NO_LIMITS], ids=["limits", "statistics"])
def test_a_queue_left_behind_is_not_held_against_the_other_arm(limits: HardLimits) -> None:
    plan = replace(PLAN, limits=limits, washout_max_s=40)
    test = run(ScriptedTarget(OneServer(0.1, 0.3), rate_rps=4.0), plan)
    assert ended(test) is Verdict.HARMFUL
    for pair in test.pairs:
        assert pair.treatment.attainment < 0.3
        assert pair.control.attainment > 0.6


def test_a_treatment_that_drains_the_controls_queue_is_better() -> None:
    plan = replace(PLAN, limits=NO_LIMITS, washout_max_s=40)
    test = run(ScriptedTarget(OneServer(0.3, 0.1), rate_rps=4.0), plan)
    assert ended(test) is Verdict.ACCEPTED


# ---- limits of the machine, inside one cycle
def test_memory_and_heat_end_a_treatment_in_the_cycle_that_shows_them() -> None:
    plan = replace(PLAN, limits=HardLimits(max_temperature_c=85))

    def out_of_memory(moment: Moment) -> dict[str, float]:
        return {"out_of_memory_total": float(moment.treatment and moment.since_switch_s >= 10)}

    def hot(moment: Moment) -> dict[str, float]:
        return {"temperature_c": 90.0 if moment.treatment and moment.since_switch_s > 3 else 60.0}

    for gauges, told, at_s in ((out_of_memory, "ran out of memory", 10), (hot, "90 °C", 4)):
        test = run(ScriptedTarget(alike, gauges=gauges), plan)
        kind, why = verdict(test)
        assert kind == "HARMFUL"
        assert told in why
        assert "under the treatment 0 of" in why
        last = test.slots[-1]
        assert last.ended_at is not None
        assert last.ended_at - last.started_at == at_s
