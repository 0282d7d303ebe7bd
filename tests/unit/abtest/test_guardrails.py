"""The limits that act before statistics."""

from __future__ import annotations

import math

import pytest

from autotuner.abtest.guardrails import RESTARTED, breach, running_breach
from autotuner.domain.experiment import Arm, HardLimits, Slot, SlotOutcome
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome

LIMITS = HardLimits(max_error_share=0.05, min_requests=10, tail_factor=3.0)
TARGETS = SLO(ttft_s=1.0, gap_max_s=0.1)


def _slot(
    index: int,
    arm: Arm,
    requests: int = 100,
    failed: int = 0,
    ttft: float = 0.5,
    gap: float = 0.05,
    excluded: str | None = None,
) -> Slot:
    outcome = SlotOutcome(requests, requests - failed, failed, 0, 55, ttft, gap, 2.0, 0, 0)
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


def test_a_running_treatment_slot_is_stopped_without_waiting_for_its_end() -> None:
    slots = [_slot(0, C), Slot(1, T, 2, 5.0)]
    rejected = _finished(12, Outcome.REJECTED)
    assert running_breach(slots, rejected, {}, LIMITS) is not None
    assert running_breach(slots, rejected, {2: 300}, LIMITS) is None  # 12 of 312
    assert running_breach(slots, _finished(12, Outcome.ABORT), {}, LIMITS) is None
    assert running_breach([_slot(0, T), Slot(1, C, 2, 5.0)], rejected, {}, LIMITS) is None
