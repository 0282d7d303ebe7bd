"""The fewest replicas with which the traffic keeps its SLO, and what is expected of them.

Asked of the analytic model of continuous batching for many numbers of replicas and schedules at
once. It must not know prices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.fluid import Prediction, predict
from autotuner.agent.latencies import SLOTable
from autotuner.agent.machine import MachineTable
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import StepTable
from autotuner.agent.systems import Systems
from autotuner.planner.demand import Demand
from autotuner.planner.memory import Memory
from autotuner.planner.performance import Replica, steps_of

MOST_REPLICAS = 512  # chosen: beyond it a device is no choice
_GRID = tuple(sorted({round(2 ** (k / 2)) for k in range(19)}))
_SEQUENCES = (4, 8, 16, 32, 64, 128, 256)
_BUDGETS = (256, 512, 2048, 8192)
_ROUNDS = 3  # of finding how many sequences run, which says how many experts are read


@dataclass(frozen=True)
class Expected:
    """What so many replicas are expected to do at the peak. Seconds; shares in 0..1.

    `capacity_tokens_per_s`: output tokens of all replicas with full batches of the mix.
    """

    replicas: int
    schedule: Schedule
    attainment: float
    ttft_s: float
    ttft_long_s: float
    gap_s: float
    tpot_s: float
    e2el_s: float
    busy: float
    decoding: float
    capacity_tokens_per_s: float


def with_replicas(
    replica: Replica, memory: Memory, demand: Demand, replicas: int
) -> Expected | None:
    """With so many; None where these do not keep the SLO."""
    return _trial(replica, memory, demand, (replicas,), _schedules(replica))[0]


def size(replica: Replica, memory: Memory, demand: Demand) -> Expected | None:
    """None where no number up to MOST_REPLICAS does it: one replica is too slow for the SLO."""
    schedules = _schedules(replica)
    step = _trial(replica, memory, demand, _GRID, schedules)
    fitting = [n for n, row in zip(_GRID, step, strict=True) if row is not None]
    if not fitting:
        return None
    most = fitting[0]
    least = max((n for n in _GRID if n < most), default=0)
    between = _narrowed(least, most)
    rows = _trial(replica, memory, demand, between, schedules)
    return next(row for row in rows if row is not None)


def _narrowed(least: int, most: int) -> tuple[int, ...]:
    """At most 32 numbers above `least` up to `most`, which is the last."""
    return tuple(sorted({int(n) for n in np.linspace(least + 1, most, min(most - least, 32))}))


def _schedules(replica: Replica) -> list[Schedule]:
    """Batch sizes and budgets within what the memory was planned for."""
    storage = replica.storage
    return [
        Schedule(max_num_seqs=sequences, max_num_batched_tokens=budget)
        for sequences in _SEQUENCES
        for budget in _BUDGETS
        if sequences <= storage.sequences and sequences < budget <= storage.batched_tokens
    ]


def _trial(
    replica: Replica,
    memory: Memory,
    demand: Demand,
    counts: tuple[int, ...],
    schedules: list[Schedule],
) -> list[Expected | None]:
    """For each number of replicas its best schedule's figures; None where that is not enough."""
    many = [schedule for _ in counts for schedule in schedules]
    numbers = np.repeat(np.array(counts, np.int64), len(schedules))
    prediction, steps = _predicted(replica, memory, demand, numbers, many)
    shares = prediction.attainment.reshape(len(counts), len(schedules))
    # Ties are common where all is well: the smallest batch and budget of equals comes first.
    best = np.round(shares, 4).argmax(axis=1) + np.arange(len(counts)) * len(schedules)
    return [
        _expected(prediction, steps, demand, int(row), int(n), many[int(row)], memory)
        if prediction.attainment[row] >= demand.attainment
        else None
        for n, row in zip(counts, best, strict=True)
    ]


def _predicted(
    replica: Replica,
    memory: Memory,
    demand: Demand,
    numbers: np.ndarray[tuple[int], np.dtype[np.int64]],
    schedules: list[Schedule],
) -> tuple[Prediction, StepTable]:
    rows = len(schedules)
    sequences = np.full(rows, 1e9)
    table = ScheduleTable.of(schedules)
    nothing = np.zeros(rows, np.int64)
    slo = SLOTable.of([demand.slo]).take(nothing)
    for _ in range(_ROUNDS if replica.model.experts is not None else 1):
        steps = _steps(replica, sequences)
        machines = _machines(replica, memory, steps)
        rate = np.full(rows, demand.peak_rps)
        systems = Systems.of(machines, rate, demand.mix.take(nothing), slo)
        engines = replace(machines.reference, data=numbers)
        prediction = predict(systems, table, engines)
        sequences = np.maximum(np.rint(prediction.decoding), 1.0)
    return prediction, steps


def _steps(replica: Replica, sequences: np.ndarray[tuple[int], np.dtype[np.float64]]) -> StepTable:
    known = {n: steps_of(replica, n) for n in set(sequences.tolist())}
    return StepTable.of([known[n] for n in sequences.tolist()])


def _machines(replica: Replica, memory: Memory, steps: StepTable) -> MachineTable:
    """With the layout's parallel sizes as the reference, so that the steps come out as they are."""
    gpu, rows, layout = replica.device.kind == "gpu", len(steps.t0_s), replica.layout
    engine = Engine(tensor=layout.tensor * layout.data, pipeline=layout.pipeline)
    # Devices enough for all replicas: the number is what is looked for.
    return MachineTable.of_steps(
        steps,
        EngineTable.of([engine] * rows),
        gpu=gpu,
        cores=MOST_REPLICAS * layout.devices,
        kv_tokens=float(memory.kv_tokens),
    )


def _expected(
    prediction: Prediction,
    steps: StepTable,
    demand: Demand,
    row: int,
    replicas: int,
    schedule: Schedule,
    memory: Memory,
) -> Expected:
    p = prediction
    return Expected(
        replicas=replicas,
        schedule=schedule,
        attainment=float(p.attainment[row]),
        ttft_s=float(p.ttft_short_s[row]),
        ttft_long_s=float(p.ttft_long_s[row]),
        gap_s=float(p.full_step_s[row]),
        tpot_s=float(p.tpot_s[row]),
        e2el_s=float(p.e2el_s[row]),
        busy=float(p.busy[row]),
        decoding=float(p.decoding[row]),
        capacity_tokens_per_s=replicas * _capacity(steps, row, demand, schedule, memory),
    )


def _capacity(
    steps: StepTable, row: int, demand: Demand, schedule: Schedule, memory: Memory
) -> float:
    """Output tokens per second of one replica whose batch is full, its prompts' time included."""
    model = steps.model(row)
    prompt, output = demand.mean_prompt_tokens, demand.mean_output_tokens
    seats = min(schedule.max_num_seqs, memory.kv_tokens / (prompt + output))
    seats = max(seats, 1.0)
    context = prompt + output / 2
    step_s = model.step_s(seats, 0.0, seats * context)
    prompt_s = model.prefill_s * prompt + model.pair_s * prompt**2 / 2
    return float(seats * output / (output * step_s + seats * prompt_s))
