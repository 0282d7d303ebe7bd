"""How much load, and which SLO, make a fair demo on this machine. Pure: figures in, figures out.

A laptop and a server differ by ten times in speed. So the SLO on gaps follows from the measured
step time, and the rate is the highest that good settings would serve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autotuner.agent.des import simulate
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import StepModel, StepTable
from autotuner.agent.traffic import ClassMix, TokenClass, Traffic, poisson_row
from autotuner.domain.slo import SLO

# The workload of `autotuner load --mix long-tail`.
MIX = ClassMix((TokenClass(0.1, (1000, 2000), (16, 96)), TokenClass(0.9, (64, 256), (16, 96))))
# What somebody might well run: a batch as large as memory allows and the budget of a GPU server.
POOR = Schedule(max_num_seqs=32, max_num_batched_tokens=2048)
GOOD_CHUNKS = (64, 96, 128, 192, 256)
TTFT_S = 1.5
GAP_ROOM = 1.5  # chosen: the gap target over a step with a chunk of 128 and eight sequences
REACHABLE = 0.97  # attainment that good settings must reach in the simulator
HEADROOM = 0.8  # chosen: the rate below the highest one, since cores are shared with the load
SIMULATED_S = 90.0


@dataclass(frozen=True)
class Sizing:
    """The demo's workload: requests per second, and the SLO they are judged by.

    `poor` and `best` are attainments that the simulator predicts before and after.
    """

    rate_rps: float
    slo: SLO
    poor: float
    best: float


def size(model: StepModel, seed: int) -> Sizing:
    """The workload for a machine with this step model."""
    slo = SLO(ttft_s=TTFT_S, gap_max_s=gap_target_s(model))
    candidates = [POOR, *(Schedule(32, 0.0, chunk) for chunk in GOOD_CHUNKS)]
    rates = np.geomspace(0.25, 32, 22)
    met = _attainments(model, candidates, rates, slo, seed)
    best = met[:, 1:].max(axis=1)
    reachable = np.flatnonzero(best >= REACHABLE)
    chosen = int(reachable[-1]) if len(reachable) else 0
    return Sizing(
        rate_rps=float(np.round(rates[chosen] * HEADROOM, 2)),
        slo=slo,
        poor=float(met[chosen, 0]),
        best=float(best[chosen]),
    )


def gap_target_s(model: StepModel) -> float:
    """The SLO on the largest gap: a step with a moderate chunk, with room, in 5 ms steps."""
    step_s = model.step_s(decode_seqs=8, prefill_tokens=120, context_tokens=8 * 200 + 1200)
    return math.ceil(GAP_ROOM * step_s / 0.005) * 0.005


def _attainments(
    model: StepModel, schedules: list[Schedule], rates: np.ndarray, slo: SLO, seed: int
) -> np.ndarray:
    """Simulated attainment, [rate, schedule], each rate with one traffic for all schedules."""
    rng = np.random.default_rng(seed)
    rows = [poisson_row(rng, float(rate), SIMULATED_S, MIX) for rate in rates]
    repeat = np.repeat(np.arange(len(rates)), len(schedules))
    traffic = Traffic.stack(rows).take(repeat)
    table = ScheduleTable.of(schedules * len(rates))
    steps = StepTable.of([model] * len(repeat))
    seen = simulate(traffic, table, steps, cap_s=SIMULATED_S * 1.5, noise_rows=repeat, seed=seed)
    met = attainment(seen.latencies, SLOTable.of([slo] * len(repeat)))
    return met.reshape(len(rates), len(schedules))
