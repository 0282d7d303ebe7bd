"""Memory, window, prefix hits, patience, replicas and a full queue: small cases worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.agent.des import simulate
from autotuner.agent.des_engine import Engine
from autotuner.agent.des_fleet import Fleet
from autotuner.agent.des_noise import Noise
from autotuner.agent.des_request import Request, StepLog
from autotuner.agent.des_rows import RowServer
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.serving import Serving, ServingTable
from autotuner.agent.stepmodel import Floats, StepModel
from autotuner.agent.traffic import Traffic
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Outcome

SECOND = StepModel(1.0, 0.0, 0.0, 0.0)  # a step takes 1 s, whatever it is made of
PER_TOKEN = StepModel(0.0, 0.0, 1.0, 0.0)
PER_CONTEXT = StepModel(0.0, 0.0, 0.0, 1.0)
ROOMY = Schedule(max_num_seqs=8, max_num_batched_tokens=512)
ONE = Schedule(max_num_seqs=1, max_num_batched_tokens=512)
TTFT, GAP, TPOT, E2EL = range(4)
Rows = Sequence[tuple[float, int, int]]


def traffic_of(requests: Rows) -> Traffic:
    arrival, prompt, output = zip(*requests, strict=True)
    return Traffic.stack([(np.array(arrival, float), np.array(prompt), np.array(output))])


def serve(
    requests: Rows, serving: Serving, schedule: Schedule = ROOMY, max_waiting: float = math.inf
) -> Floats:
    """[4, request], the same whether all rows are played at once or this one on an engine."""
    traffic, table = traffic_of(requests), ServingTable.of([serving])
    schedules = ScheduleTable.of([schedule])
    seen = simulate(traffic, schedules, table, cap_s=1e6, max_waiting=max_waiting).latencies
    columns = np.stack([seen.ttft_s[0], seen.gap_max_s[0], seen.tpot_s[0], seen.e2el_s[0]])
    noise = Noise(np.zeros(1, np.int64), 0)
    server = RowServer(traffic, schedules, table, 1e6, noise, max_waiting=max_waiting)
    np.testing.assert_allclose(columns, server.serve(0).times)
    return columns


def test_careful_admission_waits_until_the_whole_length_fits() -> None:
    two = [(0.0, 16, 33), (0.0, 16, 33)]  # 48 tokens each: 3 blocks
    assert serve(two, Serving(SECOND, kv_tokens=96))[TTFT].tolist() == [1, 1]
    seen = serve(two, Serving(SECOND, kv_tokens=95))  # 5 blocks
    assert seen[TTFT].tolist() == [1, 34]
    assert seen[E2EL].tolist() == [33, 66]


def test_optimistic_admission_preempts_the_last_and_computes_it_again() -> None:
    two = [(0.0, 16, 33), (0.0, 16, 33)]
    seen = serve(two, Serving(SECOND, kv_tokens=64, optimistic=True))
    # After 17 s both have 32 tokens in the 4 blocks. The first goes on to 33 s; the second, which
    # needs 3 blocks for its 33 tokens, comes back then: one step for those, 15 more tokens.
    assert seen[TTFT].tolist() == [1, 1]
    assert seen[GAP].tolist() == [1, 17]
    assert seen[E2EL].tolist() == [33, 49]


def test_a_preempted_request_reads_its_own_answer_again() -> None:
    two = [(0.0, 16, 33), (0.0, 16, 33)]
    seen = serve(two, Serving(PER_TOKEN, kv_tokens=64, optimistic=True))
    assert seen[TTFT].tolist() == [32, 32]
    assert seen[GAP].tolist() == [0, 33]


def test_the_window_bounds_what_is_read() -> None:
    one = [(0.0, 4, 4)]
    assert serve(one, Serving(PER_CONTEXT))[E2EL, 0] == 4 + 5 + 6 + 7
    assert serve(one, Serving(PER_CONTEXT, window=5))[E2EL, 0] == 4 + 5 + 5 + 5
    assert serve(one, Serving(PER_CONTEXT, window=6))[E2EL, 0] == 4 + 5 + 6 + 6
    short = Schedule(max_num_seqs=8, max_num_batched_tokens=3)
    # Chunks of 3 and 1 token: the last query sees 2 tokens, the first of a chunk 2 as well.
    assert serve(one, Serving(PER_CONTEXT, window=2), short)[E2EL, 0] == 3 + 2 + 2 + 2 + 2


def test_windows_of_many_sequences_fill_at_different_steps() -> None:
    two = [(0.0, 2, 6), (0.0, 4, 3)]
    # Prefill 2 + 4; decode 3 + 5, 4 + 5, then the first alone: 5, 5, 5.
    assert serve(two, Serving(PER_CONTEXT, window=5))[E2EL].tolist() == [38, 23]


def test_prefix_hits_need_no_computing_but_are_context() -> None:
    one = [(0.0, 10, 1)]
    assert serve(one, Serving(PER_TOKEN, prefix_share=0.35))[TTFT, 0] == 7
    assert serve(one, Serving(PER_TOKEN, prefix_share=1.0))[TTFT, 0] == 1
    assert serve(one, Serving(PER_CONTEXT, prefix_share=0.35))[TTFT, 0] == 10
    grouped = Schedule(8, 0.0, 512, length_grouped=True)
    assert serve(one, Serving(PER_TOKEN, prefix_share=0.35), grouped)[TTFT, 0] == 7
    assert np.isinf(serve(one, Serving(PER_TOKEN, kv_tokens=9, prefix_share=0.9))).all()


def test_a_client_without_patience_frees_its_place_and_counts_as_missed() -> None:
    requests = [(0.0, 1, 10), (3.0, 1, 2)]
    seen = serve(requests, Serving(SECOND, patience_s=4.0), ONE)
    assert np.isinf(seen[:, 0]).all()
    assert seen[:, 1].tolist() == [2, 1, 1, 3]
    table = ServingTable.of([Serving(SECOND, patience_s=4.0)])
    run = simulate(traffic_of(requests), ScheduleTable.of([ONE]), table, cap_s=1e6)
    assert run.latencies.offered.all()
    assert attainment(run.latencies, SLOTable.of([SLO()]))[0] == 0.5


def test_who_waits_leaves_as_well() -> None:
    seen = serve([(0.0, 1, 10), (0.5, 1, 1), (9.0, 1, 1)], Serving(SECOND, patience_s=9.5), ONE)
    assert np.isinf(seen[E2EL]).tolist() == [True, True, False]


def test_requests_go_to_the_replica_with_the_fewest_tokens_in_flight() -> None:
    requests = [(0.0, 1, 10), (0.5, 1, 2), (2.6, 1, 2), (2.7, 1, 1)]
    seen = serve(requests, Serving(SECOND, replicas=2), ONE)
    np.testing.assert_allclose(seen[TTFT], [1.0, 1.0, 1.0, 2.9])
    np.testing.assert_allclose(seen[E2EL], [10.0, 2.0, 2.0, 2.9])


def test_a_full_queue_refuses() -> None:
    requests = [(0.0, 1, 5), (0.1, 1, 1), (0.2, 1, 1), (5.5, 1, 1)]
    seen = serve(requests, Serving(SECOND), ONE, max_waiting=1)
    assert np.isinf(seen[E2EL]).tolist() == [False, False, True, False]


def test_what_is_longer_than_the_memory_is_refused() -> None:
    for optimistic in (False, True):
        serving = Serving(SECOND, kv_tokens=32, optimistic=optimistic)
        seen = serve([(0.0, 40, 1), (0.0, 30, 4), (0.0, 30, 3)], serving)
        assert np.isinf(seen[E2EL]).tolist() == [True, True, False]


def test_rows_whose_limits_do_not_bind_keep_their_numbers() -> None:
    rng = np.random.default_rng(3)
    row = (np.sort(rng.uniform(0, 20, 60)), rng.integers(1, 200, 60), rng.integers(1, 60, 60))
    model = StepModel(6e-3, 0.45e-3, 0.4e-3, 4e-6, noise=0.1)
    servings = [
        Serving(model),
        Serving(model, kv_tokens=1e5),
        Serving(model, kv_tokens=1e5, optimistic=True),
        Serving(model, patience_s=1e4),
        Serving(model, kv_tokens=300),
    ]
    n = len(servings)
    traffic = Traffic.stack([row]).take(np.zeros(n, np.int64))
    schedules, together = ScheduleTable.of([ROOMY] * n), np.zeros(n, np.int64)
    table = ServingTable.of(servings)
    seen = simulate(traffic, schedules, table, cap_s=1e6, noise_rows=together).latencies
    plain = simulate(traffic, schedules, table.steps, cap_s=1e6, noise_rows=together).latencies
    assert np.array_equal(seen.e2el_s[:4], plain.e2el_s[:4])
    assert seen.e2el_s[4].sum() > plain.e2el_s[4].sum()


@st.composite
def loads(draw: st.DrawFn) -> list[tuple[float, int, int]]:
    gaps = draw(st.lists(st.floats(0, 3), min_size=1, max_size=12))
    lengths = st.tuples(st.integers(1, 60), st.integers(1, 60))
    return [(t, *draw(lengths)) for t in np.cumsum(gaps).tolist()]


@settings(deadline=None, max_examples=150)
@given(
    requests=loads(),
    blocks=st.integers(4, 20),
    optimistic=st.booleans(),
    window=st.sampled_from([math.inf, 7.0, 40.0]),
    patience_s=st.sampled_from([math.inf, 25.0]),
    replicas=st.integers(1, 2),
    seqs=st.integers(1, 8),
    grouped=st.booleans(),
)
def test_no_request_is_lost_and_tokens_are_conserved(
    requests: list[tuple[float, int, int]],
    blocks: int,
    optimistic: bool,
    window: float,
    patience_s: float,
    replicas: int,
    seqs: int,
    grouped: bool,
) -> None:
    serving = Serving(SECOND, blocks * 16.0, optimistic, window, replicas, 0.0, patience_s)
    schedule = Schedule(seqs, 0.0, 24, length_grouped=grouped)
    log = StepLog(1 << 20)
    engines = [
        Engine(serving, schedule, lambda: np.zeros(64), log, every_step=True)
        for _ in range(replicas)
    ]
    fleet = Fleet(engines, math.inf)
    for number, request in enumerate(requests):
        fleet.run(request[0])
        fleet.submit(Request(number, *request))
    fleet.run(1e5)
    ended = fleet.take_ended()
    assert sorted(e.request.number for e in ended) == list(range(len(requests)))
    assert fleet.waiting == fleet.running == 0
    assert all(e.kv.used == e.kv.reserved == e.cached_tokens == 0 for e in engines)
    too_long = sum(-(-(p + o - 1) // 16) > blocks for _, p, o in requests)
    assert sum(e.outcome is Outcome.ERROR for e in ended) == too_long
    if math.isinf(patience_s):
        served = [e.request for e in ended if e.outcome is Outcome.LENGTH]
        assert len(served) == len(requests) - too_long
        again = sum(e.preemptions for e in engines)
        decoded = sum(record.decode_seqs for record in log.records)
        after_first = sum(r.output_tokens - 1 for r in served)
        assert after_first - again <= decoded <= after_first
        read = sum(record.prefill_tokens for record in log.records)
        prompts = sum(r.prompt_tokens for r in served)
        assert read == prompts if again == 0 else read > prompts


@pytest.mark.parametrize("patience_s", [math.inf, 20.0])
def test_a_trace_of_replicas_holds_the_steps_of_all(patience_s: float) -> None:
    requests = [(0.1 * i, 5, 3) for i in range(20)]
    table = ServingTable.of([Serving(SECOND, replicas=2, patience_s=patience_s), Serving(SECOND)])
    traffic = traffic_of(requests).take(np.zeros(2, np.int64))
    seen = simulate(traffic, ScheduleTable.of([ROOMY] * 2), table, cap_s=1e6, trace=True)
    assert seen.trace is not None
    assert seen.trace.prefill_tokens.sum(axis=0).tolist() == [100, 100]
    assert seen.trace.decode_seqs.sum(axis=0).tolist() == [40, 40]
    ends = seen.trace.end_s[seen.trace.step_s[:, 0] > 0, 0]
    assert (np.diff(ends) >= 0).all()
