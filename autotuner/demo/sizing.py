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
from autotuner.agent.stepmodel import Floats, StepModel, StepTable
from autotuner.agent.traffic import ClassMix, TokenClass, Traffic, poisson_row
from autotuner.domain.slo import SLO

# The workload of `autotuner load --mix long-tail`.
MIX = ClassMix((TokenClass(0.1, (1000, 2000), (16, 96)), TokenClass(0.9, (64, 256), (16, 96))))
# What somebody might well run: a batch as large as memory allows and the budget of a GPU server.
POOR = Schedule(max_num_seqs=32, max_num_batched_tokens=2048)
GOOD_CHUNKS = (64, 96, 128, 192, 256)
CHUNK = 120  # prompt tokens of the step that both targets follow from
LONGEST = 2000  # tokens of the longest prompt
GAP_ROOM = 1.35  # chosen: the gap target over such a step with eight sequences decoding
TTFT_ROOM = 2.0  # chosen: the TTFT target over the longest prompt's chunks alone
REACHABLE = 0.95  # attainment that good settings must reach in the simulator
HEADROOM = 0.8  # chosen: the rate below the highest one, since cores are shared with the load
SIMULATED_S = 180.0
REPEATS = 3


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
    slo = targets(model)
    candidates = [POOR, *(Schedule(32, 0.0, chunk) for chunk in GOOD_CHUNKS)]
    rates = np.geomspace(0.25, 32, 57)
    reachable = np.flatnonzero(_attainments(model, candidates, rates, slo, seed)[1] >= REACHABLE)
    rate_rps = round(float(rates[reachable[-1]] if len(reachable) else rates[0]) * HEADROOM, 2)
    poor, best = _attainments(model, candidates, np.array([rate_rps]), slo, seed)
    return Sizing(rate_rps, slo, poor=float(poor[0]), best=float(best[0]))


def targets(model: StepModel) -> SLO:
    """The SLO: what a moderate chunk allows, with room. Gaps in 5 ms steps, TTFT in 0.5 s steps."""
    step_s = model.step_s(decode_seqs=8, prefill_tokens=CHUNK, context_tokens=8 * 200 + 1200)
    gap_s = math.ceil(GAP_ROOM * step_s / 0.005) * 0.005
    ttft_s = math.ceil(TTFT_ROOM * step_s * LONGEST / CHUNK / 0.5) * 0.5
    return SLO(ttft_s=ttft_s, gap_max_s=round(gap_s, 3))


def _attainments(
    model: StepModel, schedules: list[Schedule], rates: Floats, slo: SLO, seed: int
) -> tuple[Floats, Floats]:
    """Simulated attainment by rate: of the first schedule, and of the best of the others.

    Each rate has traffics of its own that all schedules share; their mean counts.
    """
    rng = np.random.default_rng(seed)
    streams = np.repeat(rates, REPEATS)
    rows = [poisson_row(rng, float(rate), SIMULATED_S, MIX) for rate in streams]
    repeat = np.repeat(np.arange(len(streams)), len(schedules))
    traffic = Traffic.stack(rows).take(repeat)
    table = ScheduleTable.of(schedules * len(streams))
    steps = StepTable.of([model] * len(repeat))
    seen = simulate(traffic, table, steps, cap_s=SIMULATED_S * 1.5, noise_rows=repeat, seed=seed)
    met = attainment(seen.latencies, SLOTable.of([slo] * len(repeat)))
    by_rate = met.reshape(len(rates), REPEATS, len(schedules)).mean(axis=1)
    return by_rate[:, 0], by_rate[:, 1:].max(axis=1)
