"""The simulator against the bundled worker's own scheduler, driven with the same step times."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import pytest

from autotuner.agent.des import simulate
from autotuner.agent.des_engine import Engine
from autotuner.agent.des_fleet import Fleet
from autotuner.agent.des_request import Request
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.serving import Serving, ServingTable
from autotuner.agent.stepmodel import Floats, StepModel
from autotuner.agent.traffic import ClassMix, TokenClass, Traffic, poisson_row
from autotuner.worker.messages import SamplingParams
from autotuner.worker.router import Router
from autotuner.worker.scheduler import Scheduler
from autotuner.worker.sequence import Sequence, StepPlan
from autotuner.worker.settings import WorkerSettings

MODEL = StepModel(6e-3, 0.45e-3, 0.4e-3, 4e-6, pair_s=0.4e-6)
MIX = ClassMix((TokenClass(0.8, (5, 120), (1, 60)), TokenClass(0.2, (300, 700), (1, 90))))
LONG = ClassMix((TokenClass(0.7, (5, 1200), (1, 60)), TokenClass(0.3, (900, 1100), (40, 200))))
WINDOW = 1024.0  # the worker's


@dataclass
class Client:
    """Who asked for a sequence, and when each of its tokens came."""

    arrival_s: float
    sequence: Sequence
    tokens_s: list[float] = field(default_factory=list)
    ended: bool = False

    def latencies(self) -> tuple[float, float, float, float]:
        if not self.ended:
            return (math.inf,) * 4
        gaps = np.diff(self.tokens_s)
        first, last = self.tokens_s[0] - self.arrival_s, self.tokens_s[-1] - self.arrival_s
        return first, float(gaps.max(initial=0.0)), (last - first) / max(len(gaps), 1), last


@dataclass
class Served:
    """What the worker's scheduler made of a traffic."""

    latencies: Floats  # [request, 4]
    preemptions: int
    steps: list[tuple[int, int, int]]  # decoding, prompt tokens, context


def sequence(number: int, arrival_s: float, prompt: int, output: int) -> Sequence:
    sampling = SamplingParams(max_tokens=output, ignore_eos=True)
    return Sequence(str(number), [1] * prompt, prompt, sampling, 0, arrival_s)


def play_worker(
    row: list[tuple[float, int, int]], settings: WorkerSettings, serving: Serving
) -> Served:
    """Serve all requests with the worker's scheduler on a virtual clock."""
    blocks = int(min(serving.kv_tokens, 1e6) // 16) + 1
    scheduler = Scheduler(settings, blocks, (blocks - 1) * 16, prefix_caching=False)
    clients = [Client(r[0], sequence(i, *r)) for i, r in enumerate(row)]
    coming = deque(clients)
    by_id = {client.sequence.request_id: client for client in clients}
    now, steps = 0.0, []
    while True:
        while coming and coming[0].arrival_s <= now:
            scheduler.add(coming.popleft().sequence)
        for client in clients:
            if not client.ended and client.arrival_s + serving.patience_s <= now:
                scheduler.abort(client.sequence.request_id)
        plan = scheduler.schedule(now)
        if not plan.chunks:
            scheduler.finish_step(plan, [])  # tells of who was aborted
            wait_s = scheduler.wait_s(now)
            idle_s = math.inf if wait_s is None else max(now + wait_s, math.nextafter(now, 1e9))
            if not coming and math.isinf(idle_s):
                break
            arrival_s = coming[0].arrival_s if coming else math.inf
            now = min(idle_s, arrival_s)
            continue
        counts = (len(plan.decodes), plan.prefill_tokens, plan.context_tokens)
        now += MODEL.step_s(*counts, plan.prefill_pairs)
        steps.append(counts)
        finish(scheduler, plan, by_id, now, serving.patience_s)
    preemptions = sum(client.sequence.preemptions for client in clients)
    return Served(np.array([c.latencies() for c in clients]), preemptions, steps)


def finish(
    scheduler: Scheduler, plan: StepPlan, clients: dict[str, Client], now: float, patience_s: float
) -> None:
    drawn = [(chunk.sequence, 1) for chunk in plan.chunks if chunk.yields_token]
    for output in scheduler.finish_step(plan, drawn):
        client = clients[output.request_id]
        if output.token_id is not None:
            client.tokens_s.append(now)
        if output.finish == "length":
            client.ended = now <= client.arrival_s + patience_s


def check(schedule: Schedule, serving: Serving, mix: ClassMix, seed: int, rate: float) -> Served:
    arrays = poisson_row(np.random.default_rng(seed), rate, 5.0, mix)
    row = list(zip(*(column.tolist() for column in arrays), strict=True))
    settings = WorkerSettings(
        max_num_seqs=schedule.max_num_seqs,
        batch_timeout_ms=round(schedule.batch_timeout_s * 1000),
        max_num_batched_tokens=schedule.max_num_batched_tokens,
        memory_efficient=serving.optimistic,
        schedule_policy="length-grouped" if schedule.length_grouped else "fcfs",
        attention="sliding_window" if serving.window == WINDOW else "full",
    )
    expected = play_worker(row, settings, serving)
    for trace in (False, True):  # with a trace each step is played by itself
        seen = simulate(
            Traffic.stack([arrays]),
            ScheduleTable.of([schedule]),
            ServingTable.of([serving]),
            cap_s=1e6,
            trace=trace,
        )
        got = seen.latencies
        columns = [got.ttft_s[0], got.gap_max_s[0], got.tpot_s[0], got.e2el_s[0]]
        np.testing.assert_allclose(np.stack(columns, axis=1), expected.latencies, atol=1e-9)
    assert seen.trace is not None
    made_of = (seen.trace.decode_seqs, seen.trace.prefill_tokens, seen.trace.context_tokens)
    ran = seen.trace.step_s[:, 0] > 0
    steps = list(zip(*(column[ran, 0].tolist() for column in made_of), strict=True))
    assert steps == expected.steps
    return expected


SCHEDULES = [
    Schedule(seqs, timeout, budget, length_grouped=grouped)
    for seqs, timeout, budget, grouped in product((3, 16), (0.0, 0.05), (96, 2048), (False, True))
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("optimistic", [False, True])
def test_agrees_with_the_worker_when_memory_is_short(schedule: Schedule, optimistic: bool) -> None:
    serving = Serving(MODEL, kv_tokens=1600, optimistic=optimistic)
    served = [check(schedule, serving, MIX, seed, rate=9.0) for seed in (1, 2)]
    if optimistic and schedule.max_num_seqs == 16:
        assert sum(s.preemptions for s in served) > 3
    elif not optimistic:
        assert sum(s.preemptions for s in served) == 0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("kv_tokens", [math.inf, 3000.0])
def test_agrees_with_the_worker_under_a_window(schedule: Schedule, kv_tokens: float) -> None:
    serving = Serving(MODEL, kv_tokens=kv_tokens, optimistic=True, window=WINDOW)
    check(schedule, serving, LONG, 1, rate=1.5)


def test_a_window_makes_the_worker_read_less() -> None:
    windowed = Serving(MODEL, window=WINDOW)
    read = [
        sum(step[2] for step in check(Schedule(), serving, LONG, 1, rate=1.5).steps)
        for serving in (windowed, replace(windowed, window=math.inf))
    ]
    assert read[0] < read[1]


class NotingEngine(Engine):
    """Remembers which requests it was given."""

    def __init__(self, serving: Serving, schedule: Schedule) -> None:
        super().__init__(serving, schedule, lambda: np.zeros(64), None)
        self.given: list[int] = []

    def submit(self, request: Request) -> None:
        self.given.append(request.number)
        super().submit(request)


@pytest.mark.parametrize("replicas", [2, 3])
def test_requests_are_dealt_as_the_worker_deals_them(replicas: int) -> None:
    serving = Serving(MODEL, kv_tokens=1600, optimistic=True, replicas=replicas)
    engines = [NotingEngine(serving, Schedule(8)) for _ in range(replicas)]
    fleet, router = Fleet(engines, math.inf), Router()
    columns = poisson_row(np.random.default_rng(4), 15.0, 10.0, MIX)
    requests = [
        Request(i, *row) for i, row in enumerate(zip(*(c.tolist() for c in columns), strict=True))
    ]
    for request in requests:
        fleet.run(request.arrival_s)
        fleet.submit(request)
    fleet.run(1e6)
    ends = deque(sorted((e.at_s, e.request.number) for e in fleet.take_ended()))
    assert len(ends) == len(requests)
    for request in requests:
        while ends and ends[0][0] <= request.arrival_s:
            router.ended(str(ends.popleft()[1]))
        number, tokens = request.number, request.total_tokens
        place = router.route(str(number), [], tokens, range(replicas))
        assert number in engines[place].given
    assert min(len(engine.given) for engine in engines) > len(requests) / replicas / 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_agrees_with_the_worker_when_clients_leave(schedule: Schedule) -> None:
    serving = Serving(MODEL, kv_tokens=1600, optimistic=True, patience_s=1.5)
    served = check(schedule, serving, MIX, 1, rate=9.0)
    left = np.isinf(served.latencies[:, 3])
    assert left.any()
    assert not left.all()
