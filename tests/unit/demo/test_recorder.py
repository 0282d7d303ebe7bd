"""The demo's figures count what the daemon's do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.demo.recorder import figures
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome

GOOD = Exposure(
    seq=1, id="r", generation_start=1, generation_end=1, arrival=0.0, queue_s=0.0, ttft_s=0.5,
    tpot_s=0.02, gap_max_s=0.05, e2el_s=1.0, prompt_tokens=10, output_tokens=26,
    outcome=Outcome.STOP,
)  # fmt: skip


def test_clients_that_left_count_once_a_deadline_had_passed() -> None:
    left = replace(GOOD, ttft_s=None, tpot_s=None, gap_max_s=None, outcome=Outcome.ABORT)
    requests = [GOOD, replace(left, e2el_s=0.9), replace(left, e2el_s=1.1)]
    seen = figures(requests, SLO(ttft_s=1.0), seconds=10.0)
    assert (seen.requests, seen.attainment) == (2, 0.5)
    assert seen.goodput_rps == pytest.approx(0.1)
