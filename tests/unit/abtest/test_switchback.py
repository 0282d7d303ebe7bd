"""The whole life of a test on a scripted target: no clock, no sleep, no process."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from autotuner.abtest.design import arm_of
from autotuner.abtest.switchback import washout_cut_short, winner
from autotuner.abtest.view import View
from autotuner.domain.experiment import Arm, Experiment, HardLimits, Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.telemetry import Outcome
from tests.unit.abtest.fake_target import (
    CYCLE_S,
    PLAN,
    Disturb,
    FakeTarget,
    attaining,
    experiment,
    run,
)
from tests.unit.abtest.virtual_target import CONTROL, TREATMENT, Reply


def verdict(test: Experiment) -> Verdict:
    assert test.conclusion is not None
    return test.conclusion.verdict


def reason(test: Experiment) -> str:
    assert test.conclusion is not None
    return test.conclusion.reason


def test_a_clear_win_is_accepted_within_eight_pairs_and_applied() -> None:
    target = FakeTarget(attaining(0.6, 0.95))
    test, _ = run(target)
    assert verdict(test) is Verdict.ACCEPTED
    assert test.conclusion is not None
    assert test.conclusion.pairs <= 8
    assert 0 < test.conclusion.low < test.conclusion.effect < test.conclusion.high
    assert 0.95 <= test.conclusion.confidence < 1
    assert target.settings == TREATMENT == winner(test)
    assert len(test.looks) == len(test.pairs) == test.conclusion.pairs


def test_the_same_service_under_both_arms_is_not_accepted() -> None:
    accepted = 0
    for seed in range(6):
        target = FakeTarget(attaining(0.8, 0.8))
        test, _ = run(target, experiment(seed))
        accepted += verdict(test) is Verdict.ACCEPTED
        assert target.settings == winner(test)
    assert accepted == 0


def test_harm_is_stopped_by_statistics_and_undone() -> None:
    target = FakeTarget(attaining(0.95, 0.5))
    test, _ = run(target)
    assert verdict(test) is Verdict.HARMFUL
    assert test.conclusion is not None
    assert test.conclusion.pairs <= 8
    assert test.conclusion.high < 0
    assert "confidence that it is worse" in reason(test)
    assert target.settings == CONTROL


def test_failures_under_the_treatment_end_the_test_inside_its_first_slot() -> None:
    def serve(settings: Settings, number: int) -> Reply:
        bad = settings == TREATMENT and number % 3 == 0
        return Reply(None, 0.0, Outcome.REJECTED) if bad else Reply()

    target = FakeTarget(serve)
    test, _ = run(target)
    assert verdict(test) is Verdict.HARMFUL
    assert reason(test).startswith("hard limit")
    assert len(test.slots) <= 2
    assert "ended before this slot was judged" in (test.slots[-1].excluded or "")
    assert "missed the SLO" in reason(test)
    assert target.settings == CONTROL


def test_an_awful_tail_ends_the_test_after_two_treatment_slots() -> None:
    def serve(settings: Settings, number: int) -> Reply:
        bad = settings == TREATMENT and number % 8 == 0
        return Reply(4.0, 4.5) if bad else Reply()

    test, _ = run(FakeTarget(serve))
    assert verdict(test) is Verdict.HARMFUL
    assert "P95 of" in reason(test)
    assert len(test.slots) <= 5


# ---- nothing to measure
def test_no_traffic_is_inconclusive_soon() -> None:
    test, _ = run(FakeTarget(attaining(1, 1), rate_rps=0), cycles=200)
    assert verdict(test) is Verdict.INCONCLUSIVE
    assert "3 pairs in a row" in reason(test)
    assert "too few requests (0" in reason(test)
    assert test.pairs == ()
    assert all(slot.excluded for slot in test.slots[:4])
    assert test.conclusion is not None
    assert math.isnan(test.conclusion.effect)
    assert test.conclusion.confidence == 0


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.REJECTED, Outcome.ABORT])
def test_a_test_where_every_request_fails_is_never_accepted(outcome: Outcome) -> None:
    test, _ = run(FakeTarget(lambda _s, _n: Reply(None, 0.1, outcome)))
    assert verdict(test) is not Verdict.ACCEPTED
    assert winner(test) == CONTROL


@pytest.mark.parametrize("figure", ["attainment", "e2el"])
def test_latencies_that_are_no_numbers_are_never_accepted(figure: str) -> None:
    def serve(settings: Settings, _number: int) -> Reply:
        return Reply(ttft_s=math.nan if settings == CONTROL else 0.2)

    target = FakeTarget(serve)

    def break_times(_cycle: int, _target: FakeTarget, view: View) -> View:
        broken = tuple(replace(r, ttft_s=math.nan, e2el_s=math.nan) for r in view.exposures)
        return replace(view, exposures=broken)

    test, _ = run(target, experiment(plan=replace(PLAN, outcome=figure)), break_times)
    assert verdict(test) is Verdict.INCONCLUSIVE
    assert "nan" not in reason(test)


def test_a_target_that_never_answers_is_inconclusive() -> None:
    def deaf(cycle: int, _target: FakeTarget, _view: View) -> View:
        return View(None, unreachable_s=cycle * CYCLE_S)

    test, _ = run(FakeTarget(attaining(1, 1)), disturb=deaf)
    assert verdict(test) is Verdict.INCONCLUSIVE
    assert "has not answered" in reason(test)
    assert test.slots == ()


def test_a_test_that_stands_still_ends_after_twice_its_budget() -> None:
    def frozen(_cycle: int, _target: FakeTarget, view: View) -> View:
        assert view.live is not None
        return replace(view, live=replace(view.live, now=1000.0))

    test, _ = run(FakeTarget(attaining(1, 1)), disturb=frozen)
    assert verdict(test) is Verdict.INCONCLUSIVE
    assert "twice its budget" in reason(test)


# ---- disturbances
def _at(when: int, change: Callable[[FakeTarget, View], View]) -> Disturb:
    return lambda cycle, target, view: change(target, view) if cycle == when else view


def _reboot(target: FakeTarget, _view: View) -> View:
    target.restart()
    return target.view(target.boot - 1)


def _drift(target: FakeTarget, view: View) -> View:
    target.apply(Settings({"max_num_seqs": 99}))
    return replace(view, live=target.live())


def _overrun(_target: FakeTarget, view: View) -> View:
    return replace(view, overrun=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [(_reboot, "restarted"), (_drift, "somebody changed"), (_overrun, "overwritten")],
)
@pytest.mark.parametrize("when", [1, 10, 40])  # washout, first slot, second slot
def test_a_disturbed_pair_does_not_count_and_the_next_one_follows(
    change: Callable[[FakeTarget, View], View], words: str, when: int
) -> None:
    test, reasons = run(FakeTarget(attaining(0.6, 0.95)), disturb=_at(when, change))
    assert verdict(test) is Verdict.ACCEPTED
    assert test.pairs[0].index == 1
    first, second = test.slots[:2]
    assert words in f"{first.excluded} {second.excluded}"
    assert first.excluded is not None
    assert second.excluded is not None
    assert (second.generation == 0) == (when < 20)
    assert "next is slot 2 (pair 1)" in reasons[when]
    assert [slot.arm for slot in test.slots] == [arm_of(3, s.index) for s in test.slots]


def test_three_disturbed_pairs_in_a_row_end_the_test() -> None:
    def always(cycle: int, target: FakeTarget, view: View) -> View:
        return _drift(target, view) if cycle % 10 == 9 else view

    test, _ = run(FakeTarget(attaining(0.6, 0.95)), disturb=always)
    assert verdict(test) is Verdict.INCONCLUSIVE
    assert "somebody changed" in reason(test)
    assert len(test.slots) == 6


def test_a_short_silence_is_waited_for_and_a_long_one_costs_the_pair() -> None:
    def silent(start: int, length: int) -> Disturb:
        def disturb(cycle: int, _target: FakeTarget, view: View) -> View:
            lasted = cycle - start
            return View(None, unreachable_s=lasted) if 0 <= lasted < length else view

        return disturb

    short, _ = run(FakeTarget(attaining(0.6, 0.95)), disturb=silent(10, 5))
    assert short.slots[0].excluded is None
    long, _ = run(FakeTarget(attaining(0.6, 0.95)), disturb=silent(10, 9))
    assert "has not answered for 7 s" in (long.slots[0].excluded or "")
    assert verdict(long) is Verdict.ACCEPTED


def test_restarts_under_the_treatment_only_are_a_hard_limit() -> None:
    def crash(_cycle: int, target: FakeTarget, view: View) -> View:
        running = target.settings == TREATMENT and target.now - target.applied_at > 5
        return _reboot(target, view) if running else view

    test, _ = run(FakeTarget(attaining(0.6, 0.95)), disturb=crash)
    assert verdict(test) is Verdict.HARMFUL
    assert "restarted in 2 treatment slots" in reason(test)


# ---- what hangs over from one slot to the next
def test_straddlers_count_for_neither_and_late_ones_as_missed() -> None:
    def serve(_settings: Settings, number: int) -> Reply:
        return Reply(5.0, 9.0) if number % 5 == 0 else Reply(0.2, 6.0)

    test, _ = run(FakeTarget(serve))
    outcomes = [slot.outcome for slot in test.slots if slot.outcome is not None]
    assert len(outcomes) >= 8
    assert all(o.straddlers > 0 and o.good < o.requests for o in outcomes)
    # Of 37 admitted in 18 s, the fast ones of the last 4 s before the cooldown straddle.
    assert all(24 <= o.requests <= 32 for o in outcomes)


def test_the_washout_waits_for_the_other_arms_queue_up_to_its_bound() -> None:
    def serve(settings: Settings, _number: int) -> Reply:
        return Reply(0.2, 4.0 if settings == CONTROL else 30.0)

    patient = replace(PLAN, max_pairs=7, limits=HardLimits(tail_factor=1e6))
    test, reasons = run(FakeTarget(serve), experiment(plan=patient))
    for before, slot in zip(test.slots, test.slots[1:], strict=False):
        if slot.counted_from is None:
            break  # the test ended in its washout
        washed_s = slot.counted_from - slot.started_at
        assert washed_s == (PLAN.washout_max_s if before.arm is Arm.TREATMENT else 4.0)
        assert washout_cut_short(slot, PLAN) == (before.arm is Arm.TREATMENT)
    assert any("the washout's bound" in text for text in reasons)


def test_the_control_is_back_while_the_last_slot_drains() -> None:
    target = FakeTarget(lambda _s, n: Reply(0.2 if n % 2 else 2.0, 5.0))
    seen: list[Settings] = []

    def watch(_cycle: int, target: FakeTarget, view: View) -> View:
        seen.append(target.settings)
        return view

    test, reasons = run(target, experiment(plan=replace(PLAN, max_pairs=7)), watch)
    assert len(test.pairs) == 7
    assert sum(text.startswith("draining") for text in reasons) >= 3
    assert set(seen[-4:]) == {CONTROL}
    assert target.generation == 7 + len(test.slots) + 2  # applied once to drain, once to end


def test_requests_that_never_end_hold_up_no_test_and_are_missed_ones() -> None:
    target = FakeTarget(lambda _s, n: Reply(0.2, 1e9) if n % 10 == 0 else Reply())
    test, _ = run(target, experiment(plan=replace(PLAN, max_pairs=7)))
    outcomes = [slot.outcome for slot in test.slots if slot.outcome is not None]
    assert len(outcomes) >= 8
    assert all(o.requests - o.good >= 3 for o in outcomes)


def test_each_slot_has_a_generation_of_its_own_also_when_the_arm_stays() -> None:
    test, _ = run(FakeTarget(attaining(0.8, 0.8)))
    generations = [slot.generation for slot in test.slots]
    assert generations == sorted(set(generations))
    assert any(a.arm is b.arm for a, b in zip(test.slots, test.slots[1:], strict=False))
