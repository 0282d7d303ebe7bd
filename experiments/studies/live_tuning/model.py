"""The simulator beside the worker: a calibrated model, the load that suits it, its predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.agent.calibration import calibrate
from autotuner.agent.des import simulate
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Floats, StepModel, StepTable
from autotuner.agent.traffic import Traffic, poisson_row
from autotuner.domain.knobs import Settings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import StepRecord
from autotuner.load.plan import Plan
from experiments.studies.live_tuning.traffic import Workload, arrays

CHUNK = 128  # tokens: both latency targets follow from the step that carries a chunk of them
SLOW_END = 0.95
GAP_ROOM = 1.1  # chosen: the gap target over the slow end of such steps
TTFT_ROOM = 1.5  # chosen: the TTFT target over the longest prompt's chunks alone
GOAL = 0.97  # chosen: the attainment that the best settings should still reach
RATES = 14
REPEATS = 4
REQUESTS = 250


@dataclass(frozen=True)
class Sized:
    """The load of a workload on this machine: requests per second, and the SLO."""

    rate_rps: float
    slo: SLO


@dataclass(frozen=True)
class Predicted:
    """What the simulator says of one settings: means, times in seconds."""

    attainment: float
    ttft_mean_s: float
    gap_max_mean_s: float


def sized(
    steps: Sequence[StepRecord], workload: Workload, grid: Sequence[Settings], seed: int
) -> Sized:
    """The highest rate at which the best of the grid still reaches GOAL in the simulator.

    The SLO follows from the measured steps, as an operator would set it on this machine.
    """
    chunked = [s.step_s for s in steps if CHUNK / 2 <= s.prefill_tokens <= 1.5 * CHUNK]
    slow_s = float(np.quantile(chunked, SLOW_END))
    gap_s = math.ceil(GAP_ROOM * slow_s / 0.005) * 0.005
    ttft_s = math.ceil(max(0.5, TTFT_ROOM * slow_s * workload.longest / CHUNK) / 0.25) * 0.25
    slo = SLO(ttft_s=round(ttft_s, 3), gap_max_s=round(gap_s, 3))
    model = calibrate(steps).model
    busy_s = _busy_s(model, workload)
    rates = np.geomspace(0.3, 1.1, RATES) / busy_s
    best = np.array([_attainments(model, workload, grid, rate, slo, seed).max() for rate in rates])
    fine = np.flatnonzero(best >= GOAL)
    rate = rates[fine[-1]] if len(fine) else rates[int(best.argmax())]
    return Sized(round(float(rate), 3), slo)


def predicted(
    steps: Sequence[StepRecord], plan: Plan, settings: Settings, slo: SLO, seed: int
) -> Predicted:
    """The simulator's figures for just the requests that were replayed, under these settings."""
    model = calibrate(steps).model
    traffic = Traffic.stack([arrays(plan)]).take(np.zeros(REPEATS, dtype=np.int64))
    latencies = simulate(
        traffic,
        ScheduleTable.of([Schedule.of(settings)] * REPEATS),
        ServingTable.plain(StepTable.of([model] * REPEATS)),
        cap_s=plan[-1].at_s + 120,
        seed=seed,
    ).latencies
    shares = attainment(latencies, SLOTable.of([slo] * REPEATS))
    return Predicted(float(shares.mean()), _mean(latencies.ttft_s), _mean(latencies.gap_max_s))


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _busy_s(model: StepModel, workload: Workload) -> float:
    """Engine seconds per request, were the engine always busy with eight sequences."""
    prompt = float(workload.prompt_tokens.mean())
    output = float(workload.output_tokens.mean())
    step_s = model.step_s(8, 0, 8 * (prompt + output / 2))
    return prompt * model.prefill_s + output * step_s / 8


def _attainments(
    model: StepModel,
    workload: Workload,
    grid: Sequence[Settings],
    rate_rps: float,
    slo: SLO,
    seed: int,
) -> Floats:
    """Simulated attainment per settings of the grid, on the same drawn traffic."""
    rng = np.random.default_rng(seed)
    length_s = REQUESTS / rate_rps
    rows = [poisson_row(rng, rate_rps, length_s, workload.mix) for _ in range(REPEATS)]
    repeat = np.tile(np.arange(REPEATS), len(grid))
    run = simulate(
        Traffic.stack(rows).take(repeat),
        ScheduleTable.of([Schedule.of(s) for s in grid for _ in range(REPEATS)]),
        ServingTable.plain(StepTable.of([model] * len(repeat))),
        cap_s=length_s * 1.5,
        noise_rows=repeat,
        seed=seed,
    )
    shares = attainment(run.latencies, SLOTable.of([slo] * len(repeat)))
    table: Floats = shares.reshape(len(grid), REPEATS).mean(axis=1)
    return table
