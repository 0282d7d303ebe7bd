"""How much load, and which SLO, make a fair demo on this machine. Pure: figures in, figures out.

A laptop and a server differ by ten times in speed. So the SLO follows from the measured step time,
and the rate is the one at which the simulator sees good and poor settings differ most.
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
# What somebody might well run: the token budget of a GPU server.
POOR = Schedule(max_num_seqs=32, max_num_batched_tokens=2048)
GOOD = tuple(Schedule(32, 0.0, chunk) for chunk in (48, 64, 96, 128, 192, 256))
CHUNK = 64  # the moderate token budget whose step both targets follow from
LONGEST = 2000  # tokens of the longest prompt
GAP_ROOMS = (1.0, 1.05, 1.1)  # chosen: the gap target over the slow end of such steps
TTFT_ROOM = 1.5  # chosen: the TTFT target over the longest prompt's chunks alone
HEADROOM = 0.93  # chosen: a bit below that rate, since cores are shared with the load
POOR_SHARE = 0.22  # chosen: of the best attainment; above it there is too little to gain
POOR_WEIGHT = 3.0  # chosen: a point too much at the start costs three at the end
SIMULATED_REQUESTS = 400
REPEATS = 5


@dataclass(frozen=True)
class Sizing:
    """The demo's workload: requests per second, and the SLO they are judged by.

    `poor` and `best` are attainments that the simulator predicts before and after.
    """

    rate_rps: float
    slo: SLO
    poor: float
    best: float


def size(model: StepModel, chunk_step_s: float, seed: int) -> Sizing:
    """The workload that tells good settings from poor ones best on a machine with this step model.

    `chunk_step_s` is what the slow end of its steps took under a budget of CHUNK tokens.
    """
    rates = np.geomspace(0.4, 1.1, 18) / busy_s(model)
    found = []
    for room in GAP_ROOMS:
        slo = targets(chunk_step_s, room)
        met = _attainments(model, [POOR, *GOOD], rates, slo, seed)
        best = met[:, 1:].max(axis=1)
        # Good settings must also bear what comes in bursts: rates up to a fifth higher.
        steady = np.lib.stride_tricks.sliding_window_view(np.append(best, [0.0] * 3), 4).min(axis=1)
        worth = steady - POOR_WEIGHT * np.maximum(met[:, 0] - POOR_SHARE * best, 0)
        found.append((float(worth.max()), float(rates[worth.argmax()]), slo))
    _, rate, slo = max(found, key=lambda one: one[0])
    rate_rps = round(rate * HEADROOM, 2)
    expected = _attainments(model, [POOR, *GOOD], np.array([rate_rps]), slo, seed)[0]
    return Sizing(rate_rps, slo, poor=float(expected[0]), best=float(expected[1:].max()))


def targets(chunk_step_s: float, gap_room: float) -> SLO:
    """The SLO: what a moderate chunk allows, with room. Gaps in 5 ms steps, TTFT in 0.5 s steps."""
    gap_s = math.ceil(gap_room * chunk_step_s / 0.005) * 0.005
    ttft_s = math.ceil(TTFT_ROOM * chunk_step_s * LONGEST / CHUNK / 0.5) * 0.5
    return SLO(ttft_s=ttft_s, gap_max_s=round(gap_s, 3))


def busy_s(model: StepModel) -> float:
    """Engine seconds per request of the mix, were it always busy with eight sequences."""
    shares = [c.share for c in MIX.classes]
    prompt = np.average([np.mean(c.prompt_tokens) for c in MIX.classes], weights=shares)
    output = np.average([np.mean(c.output_tokens) for c in MIX.classes], weights=shares)
    step_s = model.step_s(decode_seqs=8, prefill_tokens=0, context_tokens=8 * (prompt + output / 2))
    return float(prompt * model.prefill_s + output * step_s / 8)


def _attainments(
    model: StepModel, schedules: list[Schedule], rates: Floats, slo: SLO, seed: int
) -> Floats:
    """Simulated attainment, [rate, schedule].

    Each rate has traffics of its own that all schedules share; their mean counts.
    """
    rng = np.random.default_rng(seed)
    streams = np.repeat(rates, REPEATS)
    length_s = SIMULATED_REQUESTS * busy_s(model)
    rows = [poisson_row(rng, float(rate), length_s, MIX) for rate in streams]
    repeat = np.repeat(np.arange(len(streams)), len(schedules))
    traffic = Traffic.stack(rows).take(repeat)
    table = ScheduleTable.of(schedules * len(streams))
    steps = StepTable.of([model] * len(repeat))
    seen = simulate(traffic, table, steps, cap_s=length_s * 1.5, noise_rows=repeat, seed=seed)
    met = attainment(seen.latencies, SLOTable.of([slo] * len(repeat)))
    by_rate: Floats = met.reshape(len(rates), REPEATS, len(schedules)).mean(axis=1)
    return by_rate
