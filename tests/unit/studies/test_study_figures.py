"""The arithmetic of the worker's studies, on figures that can be checked by hand."""

from __future__ import annotations

import math

import pytest

from experiments.studies.dynamic_batching.serving import StepLog
from experiments.studies.dynamic_batching.utilisation import (
    BestRates,
    utilisation,
    while_waiting,
)
from experiments.studies.worker_soak.traffic import CLAMP, Traffic
from experiments.studies.worker_soak.watch import slope_mib_per_h
from experiments.studies.worker_throughput.jobs import (
    Answer,
    Job,
    decode_rate,
    output_rate,
    prefill_rate,
)


def answer(*token_times_s: list[float]) -> Answer:
    return Answer(list(token_times_s), wall_s=1.0, cpu_s=1.0)


def test_decode_counts_only_while_all_requests_decode() -> None:
    early, late = [0.1, 0.2, 0.4, 0.5], [0.3, 0.4, 0.5, 0.6]
    # From 0.3, when the late one has its first token, to 0.5, when the early one ends.
    assert decode_rate(answer(early, late)) == pytest.approx(4 / 0.2)
    assert output_rate(answer(early, late)) == pytest.approx(8 / 0.6)
    assert prefill_rate(50)(answer([0.1])) == pytest.approx(500)


def test_an_answer_with_a_token_too_few_is_refused() -> None:
    job = Job([[1, 2], [3]], output_tokens=2)
    answer([0.1, 0.2], [0.1, 0.2]).check(job)
    with pytest.raises(RuntimeError, match=r"got \[2, 1\]"):
        answer([0.1, 0.2], [0.1]).check(job)


def test_three_readings_of_utilisation() -> None:
    steps = [
        StepLog(1.0, 0.5, prefill_tokens=100, decode_tokens=0, running=4, backlog=2),
        StepLog(2.0, 0.5, prefill_tokens=0, decode_tokens=2, running=2, backlog=0),
    ]
    used = utilisation(steps, 2.0, slots=4, best=BestRates(1000.0, 20.0))
    assert used.busy == pytest.approx(0.5)
    assert used.slots == pytest.approx((0.5 * 4 + 0.5 * 2) / 8)
    assert used.useful == pytest.approx((0.1 + 0.1) / 2)


def test_saturation_ends_with_the_last_request_that_waits() -> None:
    backlogs = [3, 0, 1, 0, 0]
    steps = [StepLog(float(i), 0.1, 0, 1, 1, backlog) for i, backlog in enumerate(backlogs)]
    assert while_waiting(steps) == steps[:3]
    assert while_waiting(steps[3:]) == steps[3:]


def test_a_single_step_of_memory_is_no_slope_and_a_leak_is() -> None:
    minutes = [60.0 * minute for minute in range(30)]
    stepped = [500.0] * 20 + [564.0] * 10
    leaking = [500.0 + minute for minute in range(30)]
    assert slope_mib_per_h(minutes, stepped) == 0
    assert slope_mib_per_h(minutes, leaking) == pytest.approx(60)


def test_drawn_traffic_keeps_the_rate_and_the_lengths() -> None:
    drawn = Traffic(None, seed=3)
    plan = drawn.plan(rate_rps=5.0, duration_s=400.0)
    assert math.isclose(len(plan), 2000, rel_tol=0.1)
    assert max(request.prompt_tokens for request in plan) <= (CLAMP.max_prompt_tokens or 0)
    backlog = drawn.backlog(40)
    assert len(backlog) == 40
    assert {request.at_s for request in backlog} == {0.0}
