"""The demo's workload: reachable for good settings, out of reach for the poor ones."""

from __future__ import annotations

import pytest

from autotuner.agent.stepmodel import StepModel
from autotuner.demo.play import SLOT_REQUESTS, SLOT_S, slot_s
from autotuner.demo.sizing import Sizing, size, targets
from autotuner.domain.slo import SLO

SLOW = StepModel(t0_s=0.011, decode_s=0.0016, prefill_s=0.00065, context_s=2.5e-6, noise=0.05)
FAST = StepModel(t0_s=0.002, decode_s=0.0002, prefill_s=0.0001, context_s=5e-7, noise=0.05)


def test_the_targets_follow_the_machine() -> None:
    slo = targets(0.14, 1.15)
    assert slo.gap_max_s == pytest.approx(0.165)
    assert slo.ttft_s == 7.0
    assert targets(0.014, 1.15).gap_max_s == pytest.approx(0.02)


@pytest.mark.parametrize("model", [SLOW, FAST])
def test_good_settings_serve_at_least_twice_what_the_poor_ones_do(model: StepModel) -> None:
    sizing = size(model, 1.3 * model.step_s(8, 56, 2800), seed=7)
    assert sizing.best >= 0.9
    assert sizing.best >= 2 * sizing.poor


@pytest.mark.parametrize(
    ("rate_rps", "ttft_s", "slot"), [(3.0, 2.0, SLOT_S), (0.5, 11.0, 35), (0.25, 4.0, 52)]
)
def test_a_slot_holds_enough_requests_on_a_slow_machine(
    rate_rps: float, ttft_s: float, slot: int
) -> None:
    sizing = Sizing(rate_rps, SLO(ttft_s=ttft_s), poor=0.2, best=0.9)
    assert slot_s(sizing) == slot
    assert (slot_s(sizing) - ttft_s) * rate_rps >= SLOT_REQUESTS
