"""Held-out systems of the study: the true attainment of every settings of a grid.

The truth is the discrete-step simulator with terms that the agent's model lacks: a quadratic cost
of the batch, prompt chunks that slow the decoding beside them, and a cliff of memory traffic. No
proposer sees it; they see what they would see live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from autotuner.agent.des import Simulated, simulate
from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.evaluation import step_records
from autotuner.agent.fluid import predict
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.agent.systems import Systems, draw_systems
from autotuner.agent.traffic import Traffic, poisson_row
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import StepRecord
from experiments.studies.tuning_regret.gate import Served

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (2, 4, 8, 16, 32, 64, 128)),
        Knob("max_num_batched_tokens", (32, 64, 96, 128, 192, 256, 384, 512, 1024, 2048)),
        Knob("batch_timeout_ms", (0, 10, 50)),
        Knob("schedule_policy", ("fcfs", "length-grouped")),
    )
)
START = Settings(
    {
        "max_num_seqs": 128,
        "max_num_batched_tokens": 2048,
        "batch_timeout_ms": 0,
        "schedule_policy": "fcfs",
    }
)
GRID = tuple(SPACE.at(place) for place in product(*(range(len(k.levels)) for k in SPACE)))
NEAR = 0.05  # regret that counts as near the best
HARD_SHARE = 0.04  # a system is hard where fewer settings than this are near the best
REPEATS = 4


@dataclass(frozen=True)
class Distortion:
    """What the truth adds to each step, as shares of the machine's own `decode_s`."""

    decode_s: float
    quadratic: float  # of decode_s, times the batch squared over 32
    interference: float  # of decode_s, per sequence that decodes beside 256 prompt tokens
    cliff_seqs: float  # above so many sequences the memory traffic doubles
    cliff: float  # of decode_s, per sequence above it

    def extra_s(self, decoding: Ints, tokens: Ints) -> Floats:
        """Seconds beyond the linear step model."""
        beyond = np.maximum(decoding - self.cliff_seqs, 0.0)
        extra: Floats = self.decode_s * (
            self.quadratic * decoding**2 / 32
            + self.interference * decoding * np.minimum(tokens / 256, 1.0)
            + self.cliff * beyond
        )
        return extra


@dataclass(frozen=True)
class HeldOut:
    """One system: what serves, and the truth per settings of GRID, which lies in 0..1."""

    systems: Systems  # one environment
    distortion: Distortion
    truth: Mapping[Settings, float]
    overdispersion: float
    workload: Workload
    slo: SLO
    hard: bool

    @cached_property
    def best(self) -> float:
        return max(self.truth.values())

    def served(self, settings: Settings) -> Served:
        return Served(self.truth[settings], self.overdispersion)

    def steps(self, settings: Settings, seed: int) -> tuple[StepRecord, ...]:
        """The step log after some requests were served under `settings`."""
        rng = np.random.default_rng(seed)
        rate = float(self.systems.rate_rps[0])
        traffic = Traffic.stack([poisson_row(rng, rate, 60 / rate, self.systems.mix.sampler(0))])
        run = _served(
            self.systems, self.distortion, traffic, [settings], 90 / rate, rng, trace=True
        )
        assert run.trace is not None
        return tuple(step_records(run.trace, 0))[-1500:]


def held_out(seed: int, hard: bool) -> HeldOut:
    """One system, hard or ordinary as asked; START is at least 0.05 from its best settings."""
    rng = np.random.default_rng(seed)
    while True:
        drawn = draw_systems(rng, 128)
        # Memory and patience have limits of their own; here the cliffs are the distortion's.
        pool = Systems.plain(drawn.steps, drawn.rate_rps, drawn.mix, drawn.slo)
        for row in np.flatnonzero(_worth_measuring(pool) == (2 if hard else 1))[:4]:
            system = _measured(pool.take(np.array([row])), rng)
            worth = system.best >= 0.5 and system.best - system.truth[START] >= NEAR
            if worth and system.hard == hard:
                return system


def _worth_measuring(pool: Systems) -> Ints:
    """0: nothing to gain; 1: ordinary; 2: perhaps hard, by the analytic model over the grid."""
    schedules = ScheduleTable.of([Schedule.of(settings) for settings in GRID])
    kinds = np.zeros(len(pool), dtype=np.int64)
    start = GRID.index(START)
    for row in range(len(pool)):
        one = pool.take(np.full(len(GRID), row))
        told = predict(one, schedules).attainment
        gain = told.max() - told[start]
        if told.max() < 0.5 or gain < NEAR:
            continue
        near = float((told >= told.max() - NEAR).mean())
        kinds[row] = 2 if near < 1.5 * HARD_SHARE else 1
    return kinds


def _measured(systems: Systems, rng: np.random.Generator) -> HeldOut:
    distortion = Distortion(
        decode_s=float(systems.steps.decode_s[0]),
        quadratic=float(rng.choice([0.0, rng.uniform(0, 0.6)])),
        interference=float(rng.uniform(0, 0.8)),
        cliff_seqs=float(rng.choice([np.inf, 12, 24, 48])),
        cliff=float(rng.uniform(0.5, 3.0)),
    )
    rate, mix, slo = float(systems.rate_rps[0]), systems.mix.sampler(0), systems.slo.slo(0)
    model = systems.steps.model(0)
    length_s = min(max(130 / rate, 20.0), 2000 / rate, 6000 * (model.t0_s + model.decode_s))
    rows = [poisson_row(rng, rate, length_s, mix) for _ in range(REPEATS)]
    repeat = np.tile(np.arange(REPEATS), len(GRID))
    settings = [s for s in GRID for _ in range(REPEATS)]
    traffic = Traffic.stack(rows).take(repeat)
    run = _served(systems, distortion, traffic, settings, length_s * 1.25, rng, repeat=repeat)
    table = SLOTable.of([slo] * len(settings))
    found = attainment(run.latencies, table, (0.15 * length_s, length_s))
    shares = np.nan_to_num(found).reshape(len(GRID), REPEATS)
    truth = dict(zip(GRID, shares.mean(axis=1).tolist(), strict=True))
    best = max(truth.values())
    near = sum(value >= best - NEAR for value in truth.values()) / len(truth)
    prompt, output = mix.draw(rng, 300)
    return HeldOut(
        systems,
        distortion,
        truth,
        _overdispersion(shares, rate * 0.85 * length_s),
        Workload(rate, prompt.tolist(), output.tolist()),
        slo,
        near < HARD_SHARE,
    )


def _served(
    systems: Systems,
    distortion: Distortion,
    traffic: Traffic,
    settings: Sequence[Settings],
    cap_s: float,
    rng: np.random.Generator,
    *,
    repeat: Ints | None = None,
    trace: bool = False,
) -> Simulated:
    """One row of `traffic` per settings, on the one system, distorted."""
    many = systems.take(np.zeros(len(settings), dtype=np.int64))
    schedules = ScheduleTable.of([Schedule.of(s) for s in settings])
    return simulate(
        traffic,
        schedules,
        many.serving(EngineTable.of([Engine.of(s) for s in settings]), schedules.memory_efficient),
        cap_s=cap_s,
        noise_rows=repeat,
        seed=int(rng.integers(2**31)),
        trace=trace,
        crowding=distortion,
    )


def _overdispersion(shares: Floats, requests: float) -> float:
    """The correlation of two requests of one slot, from repeats of the same settings.

    The variance of a share of n requests is p(1−p)/n · (1 + (n−1)·rho); pooled over the settings.
    """
    mean = shares.mean(axis=1)
    coin = float((mean * (1 - mean)).mean())
    seen = float(shares.var(axis=1, ddof=1).mean())
    n = max(requests, 2.0)
    return float(np.clip((seen * n / max(coin, 1e-9) - 1) / (n - 1), 0.0, 0.3))
