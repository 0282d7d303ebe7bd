"""The limits that act before statistics."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.abtest.guardrails import RESTARTED, breach, running_breach
from autotuner.abtest.view import View
from autotuner.domain.experiment import Arm, Experiment, HardLimits, Plan, Slot, SlotOutcome
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome, Reading

LIMITS = HardLimits(max_error_share=0.05, min_requests=10, tail_factor=3.0)
TARGETS = SLO(ttft_s=1.0, gap_max_s=0.1)


def _slot(
    index: int,
    arm: Arm,
    requests: int = 100,
    failed: int = 0,
    ttft: float = 0.5,
    gap: float = 0.05,
    e2el: float = 3.0,
    excluded: str | None = None,
) -> Slot:
    outcome = SlotOutcome(
        requests, requests - failed, failed, 0, 55, ttft, gap, 2.0, 0, 0, e2el_p95_s=e2el
    )
    return Slot(index, arm, index + 1, 0.0, 5.0, 65.0, outcome, excluded)


C, T = Arm.CONTROL, Arm.TREATMENT


def test_healthy_slots_breach_nothing() -> None:
    assert breach([], LIMITS, TARGETS) is None
    assert breach([_slot(0, C), _slot(1, T), _slot(2, T), _slot(3, C)], LIMITS, TARGETS) is None


def test_errors_beyond_the_limit_and_the_controls() -> None:
    text = breach([_slot(0, C), _slot(1, T, failed=6)], LIMITS, TARGETS)
    assert text is not None
    assert "6 of 100 requests failed" in text
    assert breach([_slot(0, T, failed=6)], LIMITS, TARGETS) is not None  # no control yet
    assert breach([_slot(0, C), _slot(1, T, failed=5)], LIMITS, TARGETS) is None
    assert breach([_slot(0, C, failed=8), _slot(1, T, failed=7)], LIMITS, TARGETS) is None
    assert breach([_slot(0, C, failed=50), _slot(1, T)], LIMITS, TARGETS) is None


def test_a_failure_or_two_in_few_requests_are_no_rate() -> None:
    assert breach([_slot(0, T, requests=9, failed=9)], LIMITS, TARGETS) is None
    assert breach([_slot(0, T, requests=12, failed=2)], LIMITS, TARGETS) is None
    assert breach([_slot(0, T, requests=12, failed=3)], LIMITS, TARGETS) is not None


@pytest.mark.parametrize(("ttft", "gap"), [(3.1, 0.05), (0.5, 0.31)])
def test_a_tail_far_beyond_the_slo_twice_running(ttft: float, gap: float) -> None:
    bad = [_slot(1, T, ttft=ttft, gap=gap), _slot(2, T, ttft=ttft, gap=gap)]
    assert breach([_slot(0, C), *bad], LIMITS, TARGETS) is not None
    assert breach([_slot(0, C), bad[0], _slot(3, T)], LIMITS, TARGETS) is None
    assert breach([_slot(0, C), bad[0]], LIMITS, TARGETS) is None
    assert breach([*bad, _slot(3, C, ttft=ttft, gap=gap)], LIMITS, TARGETS) is None
    assert breach([_slot(0, C), *bad], LIMITS, SLO()) is not None  # against the control alone


def test_whole_requests_have_a_tail_too() -> None:
    slow = [_slot(1, T, e2el=40.0), _slot(2, T, e2el=50.0)]
    told = breach([_slot(0, C), *slow], LIMITS, SLO(e2el_s=10.0))
    assert told is not None
    assert "P95 of whole-request time was 40 and 50 s" in told
    assert breach([_slot(0, C), *slow], LIMITS, SLO(e2el_s=20.0)) is None


def test_a_tail_that_nobody_knows_is_no_breach() -> None:
    nothing = [_slot(1, T, ttft=math.nan, gap=math.nan), _slot(2, T, ttft=math.nan, gap=math.nan)]
    assert breach([_slot(0, C), *nothing], LIMITS, TARGETS) is None
    assert breach([_slot(1, T, ttft=9.0), _slot(2, T, ttft=9.0)], LIMITS, SLO()) is None


def test_restarts_under_the_treatment_only() -> None:
    died = f"{RESTARTED} in this slot"
    twice = [_slot(1, T, excluded=died), _slot(2, T, excluded=died)]
    assert "2 treatment slots" in (breach(twice, LIMITS, TARGETS) or "")
    assert breach([*twice, _slot(3, C, excluded=died)], LIMITS, TARGETS) is None
    assert breach(twice[:1], LIMITS, TARGETS) is None


def _finished(n: int, outcome: Outcome) -> list[Exposure]:
    return [
        Exposure(i, f"{i}", 2, 2, 10.0, None, None, None, None, 0.0, 1, 0, outcome)
        for i in range(n)
    ]


def _running(slots: list[Slot], view: View, limits: HardLimits = LIMITS) -> str | None:
    plan = Plan(limits=limits, cooldown_s=0)
    control, treatment = Settings({"a": 1}), Settings({"a": 2})
    test = Experiment("e", "t", control, treatment, plan, 1, 0.0, slots=tuple(slots))
    return running_breach(test, view, TARGETS)


def _view(exposures: list[Exposure] | None = None, unfinished: int = 0) -> View:
    live = LiveSettings(Settings({"a": 2}), 2, "boot", 5.0, 60.0)
    return View(live, tuple(exposures or ()), {2: unfinished})


def test_a_running_treatment_slot_is_stopped_without_waiting_for_its_end() -> None:
    slots = [_slot(0, C), Slot(1, T, 2, 5.0)]
    rejected = _finished(12, Outcome.REJECTED)
    assert _running(slots, _view(rejected)) is not None
    assert _running(slots, _view(rejected, unfinished=300)) is None  # 12 of 312
    assert _running(slots, _view(_finished(12, Outcome.ABORT))) is None
    assert _running([_slot(0, T), Slot(1, C, 2, 5.0)], _view(rejected)) is None
    assert _running([], _view(rejected)) is None


def test_the_lane_under_the_treatment_is_the_one_that_is_watched() -> None:
    mates = [Slot(0, C, 2, 5.0, lane=0, lanes=2), Slot(1, T, 2, 5.0, lane=1, lanes=2)]
    rejected = _finished(12, Outcome.REJECTED)
    assert _running(mates, _view(rejected)) is None  # lane 0, the control's
    assert _running(mates, _view([replace(r, lane=1) for r in rejected])) is not None


def test_a_tail_that_was_too_long_before_is_not_sat_out_a_second_time() -> None:
    slow = [
        Exposure(i, f"{i}", 3, 3, 20.0, 0.0, 5.0, 0.01, 0.02, 6.0, 1, 9, Outcome.STOP)
        for i in range(12)
    ]
    running = Slot(2, T, 3, 5.0, 10.0)
    seen = _view(slow)
    before = [_slot(0, C), _slot(1, T, ttft=4.0)]
    assert "P95 of TTFT was 4 and 5 s" in (_running([*before, running], seen) or "")
    assert _running([*before, replace(running, counted_from=None)], seen) is None  # washout
    assert _running([*before, running], _view(slow[:9])) is None
    assert _running([_slot(0, C), _slot(1, T), running], seen) is None


def _gauge(*readings: tuple[float, dict[str, float]]) -> View:
    return replace(_view(), readings=tuple(Reading(at, gauges) for at, gauges in readings))


def test_memory_that_ran_out_under_the_treatment_ends_it_at_once() -> None:
    slots = [_slot(0, C), Slot(1, T, 2, 65.0)]
    name = "out_of_memory_total"
    once = _gauge((0, {name: 4}), (65, {name: 4}), (70, {name: 5}))
    assert "ran out of memory once under the treatment" in (_running(slots, once) or "")
    assert _running(slots, once, replace(LIMITS, max_out_of_memory=1)) is None
    assert _running(slots, _gauge((0, {name: 4}), (70, {name: 4}))) is None
    assert _running(slots, _gauge((70, {name: 4}))) is None  # where it stood before the test
    both = _gauge((0, {name: 4}), (60, {name: 5}), (70, {name: 6}))
    assert _running(slots, both) is None  # the control had as many
    restarted = _gauge((0, {name: 4}), (65, {name: 4}), (70, {name: 2}))
    assert "2 times" in (_running(slots, restarted) or "")
    in_control = [_slot(0, T), Slot(1, C, 2, 65.0)]
    assert _running(in_control, once) is None


def test_between_two_lanes_memory_is_held_against_the_treatment() -> None:
    mates = [Slot(0, C, 2, 5.0, lane=0, lanes=2), Slot(1, T, 2, 5.0, lane=1, lanes=2)]
    name = "out_of_memory_total"
    assert _running(mates, _gauge((0, {name: 0}), (10, {name: 1}))) is not None


def test_a_device_too_hot_under_the_treatment_ends_it_at_once() -> None:
    slots = [_slot(0, C), Slot(1, T, 2, 65.0)]
    limits = replace(LIMITS, max_temperature_c=85)
    hot = _gauge((60, {"temperature_c": 70}), (70, {"temperature_c": 86.4}))
    told = _running(slots, hot, limits)
    assert told == "the hottest device reached 86 °C under the treatment (the limit is 85 °C)"
    assert _running(slots, hot) is None  # no limit
    as_hot_before = _gauge((60, {"temperature_c": 88}), (70, {"temperature_c": 87}))
    assert _running(slots, as_hot_before, limits) is None
    assert _running(slots, _gauge((70, {"temperature_c": math.nan})), limits) is None


def test_the_queue_that_a_treatment_leaves_behind_is_not_the_controls_tail() -> None:
    """Measured: a control slot after a slow treatment slot had six times its usual P95."""
    left = [_slot(0, C), _slot(1, T, ttft=9.0), _slot(2, C, ttft=6.0), _slot(3, T, ttft=7.0)]
    assert breach(left, LIMITS, TARGETS) is not None
    # Under a surge the control is slow without a treatment slot right before it.
    surge = [_slot(0, T, ttft=9.0), _slot(1, C, ttft=8.0), _slot(2, C, ttft=8.0)]
    assert breach([*surge, _slot(3, T, ttft=9.0)], LIMITS, TARGETS) is None


def test_a_queue_left_in_one_lane_says_nothing_of_the_other() -> None:
    def lane(slot: Slot, number: int) -> Slot:
        return replace(slot, lane=number, lanes=2)

    first = [lane(_slot(0, T, ttft=9.0), 0), lane(_slot(1, C), 1)]
    swapped = [lane(_slot(2, C, ttft=6.0), 0), lane(_slot(3, T, ttft=4.0), 1)]
    assert breach([*first, *swapped], LIMITS, TARGETS) is not None
    slow_too = [lane(_slot(0, T, ttft=9.0), 0), lane(_slot(1, C, ttft=6.0), 1)]
    assert breach([*slow_too, *swapped], LIMITS, TARGETS) is None
