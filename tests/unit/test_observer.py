"""What the observer makes of requests: attainment of the live settings alone, rate of all."""

from __future__ import annotations

import math

import pytest

from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome
from autotuner.observer import summarise

LIVE = LiveSettings(Settings({"k": 1}), 5, "boot", 0.0, 100.0)
SLO_1S = SLO(ttft_s=1.0)


def request(
    arrival: float, generations: tuple[int, int] = (5, 5), ttft_s: float = 0.5,
    outcome: Outcome = Outcome.STOP,
) -> Exposure:  # fmt: skip
    return Exposure(
        seq=1, id="r", generation_start=generations[0], generation_end=generations[1],
        arrival=arrival, queue_s=0.0, ttft_s=ttft_s, tpot_s=0.01, gap_max_s=0.02, e2el_s=1.0,
        prompt_tokens=10, output_tokens=5, outcome=outcome,
    )  # fmt: skip


def test_only_requests_of_the_live_generation_are_judged() -> None:
    seen = [request(90), request(91, ttft_s=2.0), request(80, (4, 4)), request(85, (4, 5))]
    traffic = summarise(seen, LIVE, SLO_1S, 20.0)
    assert traffic.requests == 2
    assert traffic.attainment == 0.5
    assert traffic.workload.rate_rps == pytest.approx(4 / 20)


def test_a_client_that_left_in_time_is_nobodys_fault_but_a_rejection_is() -> None:
    seen = [request(90), request(91, outcome=Outcome.ABORT), request(92, outcome=Outcome.REJECTED)]
    traffic = summarise(seen, LIVE, SLO_1S, 20.0)
    assert traffic.requests == 2
    assert traffic.attainment == 0.5
    assert len(traffic.workload.prompt_tokens) == 1


def test_a_client_that_left_after_a_deadline_was_not_served_well() -> None:
    seen = [request(90), request(91, ttft_s=1.5, outcome=Outcome.ABORT)]
    traffic = summarise(seen, LIVE, SLO_1S, 20.0)
    assert (traffic.requests, traffic.attainment) == (2, 0.5)


def test_nothing_seen_is_not_zero_attainment() -> None:
    traffic = summarise([], LIVE, SLO_1S, 20.0)
    assert (traffic.requests, traffic.workload.rate_rps) == (0, 0.0)
    assert math.isnan(traffic.attainment)


def test_the_rate_of_a_short_past_is_taken_over_that_past() -> None:
    traffic = summarise([request(98), request(99)], LIVE, SLO_1S, 60.0)
    assert traffic.workload.rate_rps == pytest.approx(1.0)
