"""The fast simulators against a slow, plain scheduler, and what must hold of any scheduler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from autotuner.agent.des import Trace, simulate
from autotuner.agent.latencies import Latencies, SLOTable, attainment, longest_step
from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.schedule import AGEING_S, Schedule, ScheduleTable
from autotuner.agent.stepmodel import Floats, Ints, StepModel, StepTable
from autotuner.agent.traffic import ClassMix, TokenClass, Traffic, poisson_row
from autotuner.domain.slo import SLO

MODEL = StepModel(6e-3, 0.45e-3, 0.4e-3, 4e-6, pair_s=0.4e-6)
MIX = ClassMix((TokenClass(0.8, (5, 120), (1, 20)), TokenClass(0.2, (300, 900), (1, 30))))
SCHEDULES = [
    Schedule(seqs, timeout, budget, grouped)
    for seqs in (1, 3, 16)
    for timeout in (0.0, 0.05)
    for budget in (20, 96, 2048)
    for grouped in (False, True)
]


@dataclass
class Plain:
    """A request of the plain scheduler."""

    arrival: float
    prompt: int
    output: int
    computed: int = 0
    tokens: tuple[float, ...] = ()  # when each came


def plain_scheduler(requests: list[Plain], schedule: Schedule, model: StepModel) -> None:
    """Serve all requests: one look at every request in every step."""
    now, coming = 0.0, sorted(requests, key=lambda r: r.arrival)
    waiting: list[Plain] = []
    running: list[Plain] = []
    while coming or waiting or running:
        while coming and coming[0].arrival <= now:
            waiting.append(coming.pop(0))
        free = schedule.max_num_seqs - len(running)
        gate = waiting[0].arrival + schedule.batch_timeout_s if waiting else math.inf
        if waiting and free > 0 and (len(waiting) >= free or now >= gate):
            admitted = in_order(waiting, schedule, now)[:free]
            waiting = [r for r in waiting if r not in admitted]
            running += admitted
        if not running:
            now = max(now, min(gate, coming[0].arrival if coming else math.inf))
            continue
        now = plain_step(running, schedule, model, now)
        running = [r for r in running if len(r.tokens) < r.output]


def plain_step(running: list[Plain], schedule: Schedule, model: StepModel, now: float) -> float:
    """Compute one step; when it ended."""
    decoding = [r for r in running if r.tokens]
    left = budget = schedule.max_num_batched_tokens - len(decoding)
    context = sum(r.prompt + len(r.tokens) for r in decoding)
    pairs = 0
    for r in in_order([r for r in running if not r.tokens], schedule, now):
        count = min(left, r.prompt - r.computed)
        if count <= 0:
            break
        pairs += sum(r.computed + i for i in range(1, count + 1))
        r.computed += count
        left -= count
        context += r.computed
    end = now + model.step_s(len(decoding), budget - left, context, pairs)
    for r in running:
        if r in decoding or r.computed == r.prompt:
            r.tokens = (*r.tokens, end)
    return end


def in_order(group: list[Plain], schedule: Schedule, now: float) -> list[Plain]:
    if not schedule.length_grouped:
        return list(group)
    return sorted(group, key=lambda r: 0 if now - r.arrival > AGEING_S else r.prompt.bit_length())


def plain_latencies(requests: Sequence[Plain]) -> Floats:
    """(TTFT, largest gap, TPOT, E2EL) per request."""
    rows = []
    for r in requests:
        gaps = [b - a for a, b in zip(r.tokens[:-1], r.tokens[1:], strict=True)]
        rows.append(
            (
                r.tokens[0] - r.arrival,
                max(gaps, default=0.0),
                sum(gaps) / max(len(gaps), 1),
                r.tokens[-1] - r.arrival,
            )
        )
    return np.array(rows)


def traffic_row(seed: int, rate: float = 6.0, length_s: float = 6.0) -> tuple[Floats, Ints, Ints]:
    return poisson_row(np.random.default_rng(seed), rate, length_s, MIX)


def as_table(latencies: Latencies, row: int, n: int) -> Floats:
    columns = (latencies.ttft_s, latencies.gap_max_s, latencies.tpot_s, latencies.e2el_s)
    return np.stack([column[row, :n] for column in columns], axis=1)


def run(
    schedules: Sequence[Schedule],
    row: tuple[Floats, Ints, Ints],
    model: StepModel = MODEL,
    cap_s: float = 1e6,
) -> tuple[Latencies, Trace]:
    n = len(schedules)
    traffic = Traffic.stack([row]).take(np.zeros(n, dtype=np.int64))
    table = ScheduleTable.of(schedules)
    seen = simulate(traffic, table, StepTable.of([model] * n), cap_s=cap_s, trace=True)
    assert seen.trace is not None
    return seen.latencies, seen.trace


@pytest.mark.parametrize("seed", [1, 2])
def test_agrees_with_the_plain_scheduler(seed: int) -> None:
    row = traffic_row(seed)
    latencies, _ = run(SCHEDULES, row)
    for i, schedule in enumerate(SCHEDULES):
        requests = [Plain(*r) for r in zip(*(c.tolist() for c in row), strict=True)]
        plain_scheduler(requests, schedule, MODEL)
        expected = plain_latencies(requests)
        np.testing.assert_allclose(
            as_table(latencies, i, len(requests)), expected, atol=1e-9, err_msg=str(schedule)
        )


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_incremental_system_agrees_with_the_plain_scheduler(schedule: Schedule) -> None:
    settings = {
        "max_num_seqs": schedule.max_num_seqs,
        "batch_timeout_ms": schedule.batch_timeout_s * 1000,
        "max_num_batched_tokens": schedule.max_num_batched_tokens,
        "schedule_policy": "length-grouped" if schedule.length_grouped else "fcfs",
    }
    system = SimulatedSystem(MODEL, lambda t: 5.0 if t < 5 else 0.0, MIX, settings, seed=3)
    exposures = sorted(system.advance(300.0), key=lambda e: e.arrival)
    assert len(exposures) > 10
    assert not system.in_flight
    requests = [Plain(e.arrival, e.prompt_tokens, e.output_tokens) for e in exposures]
    plain_scheduler(requests, schedule, MODEL)
    got = np.array([(e.ttft_s, e.gap_max_s or 0.0, e.tpot_s or 0.0, e.e2el_s) for e in exposures])
    np.testing.assert_allclose(got, plain_latencies(requests), atol=1e-9)


def test_tokens_are_conserved_and_limits_respected() -> None:
    row = traffic_row(5)
    latencies, trace = run(SCHEDULES, row)
    assert np.isfinite(latencies.e2el_s).all()
    prompt, output = int(row[1].sum()), int(row[2].sum())
    assert (trace.prefill_tokens.sum(axis=0) == prompt).all()
    assert (trace.decode_seqs.sum(axis=0) == output - len(row[2])).all()
    tokens = trace.prefill_tokens + trace.decode_seqs
    table = ScheduleTable.of(SCHEDULES)
    assert (tokens <= table.max_num_batched_tokens).all()
    assert (trace.running <= table.max_num_seqs).all()
    assert (trace.decode_seqs <= table.max_num_seqs).all()


def test_more_rate_never_raises_attainment_by_much() -> None:
    shares = []
    for rate in (1.0, 3.0, 9.0):
        row = poisson_row(np.random.default_rng(8), rate, 60.0, MIX)
        latencies, _ = run([Schedule(16, 0.0, 96)], row)
        shares.append(float(attainment(latencies, SLOTable.of([SLO(0.5, 0.08)]))[0]))
    assert shares[1] <= shares[0] + 0.05
    assert shares[2] <= shares[1] + 0.05
    assert shares[2] < shares[0]


def test_what_has_not_ended_by_the_cap_counts_as_missed() -> None:
    row = traffic_row(4, rate=30.0)
    latencies, _ = run([Schedule(2, 0.0, 32)], row, cap_s=6.0)
    assert np.isinf(latencies.e2el_s).any()
    everything = SLOTable.of([SLO()])
    assert 0 < attainment(latencies, everything)[0] < 1


def test_same_noise_row_means_same_noise() -> None:
    row = traffic_row(6)
    model = StepModel(6e-3, 0.4e-3, 0.4e-3, 0.0, noise=0.2)
    latencies, _ = run([Schedule(8)] * 2, row, model)
    traffic = Traffic.stack([row]).take(np.zeros(2, dtype=np.int64))
    shared = simulate(
        traffic,
        ScheduleTable.of([Schedule(8)] * 2),
        StepTable.of([model] * 2),
        cap_s=1e6,
        noise_rows=np.zeros(2, dtype=np.int64),
    ).latencies
    assert (shared.e2el_s[0] == shared.e2el_s[1]).all()
    assert (latencies.e2el_s[0] != latencies.e2el_s[1]).any()


def test_no_requests_end_at_once() -> None:
    empty = (np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    row = traffic_row(1)
    seen = simulate(
        Traffic.stack([empty, row]),
        ScheduleTable.of([Schedule(), Schedule()]),
        StepTable.of([MODEL, MODEL]),
        cap_s=100.0,
    )
    shares = attainment(seen.latencies, SLOTable.of([SLO(), SLO()]))
    assert np.isnan(shares[0])
    assert shares[1] == 1.0


def test_longest_step_is_the_maximum_of_each_range() -> None:
    rng = np.random.default_rng(0)
    steps = rng.random((50, 3))
    start = rng.integers(0, 50, 200)
    stop = np.minimum(start + rng.integers(0, 50, 200), 50)
    rows = rng.integers(0, 3, 200)
    expected = [max(steps[a:b, r], default=0.0) for a, b, r in zip(start, stop, rows, strict=True)]
    np.testing.assert_array_equal(longest_step(steps, rows, start, stop), expected)
