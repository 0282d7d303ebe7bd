"""Trying candidates in the discrete-step simulator, each against the incumbent.

Every candidate serves the same requests with the same noise as the incumbent (common random
numbers), so that few repeats tell them apart. The winner is judged on repeats that did not choose
it, and under step models drawn around the calibrated one, so that a candidate that only wins with
the exact figures does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from autotuner.agent.des import simulate
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import Floats, StepModel, StepTable
from autotuner.agent.traffic import TokenMix, Traffic, poisson_row
from autotuner.domain.slo import SLO

_WARM_UP = 0.15  # of the simulated time; its requests are not counted
_LEAST_MODEL_ERROR = 0.04  # of each coefficient: no step model is exact; chosen
_MOST_MODEL_ERROR = 0.3
_MOST_STEPS = 9_000  # per environment: bounds the time a screening takes
_MOST_REQUESTS = 2_500


@dataclass(frozen=True)
class Scenario:
    """The system that candidates are tried on."""

    model: StepModel
    relative_errors: Floats  # of the five coefficients
    rate_rps: float
    mix: TokenMix
    slo: SLO

    @property
    def length_s(self) -> float:
        """How long to simulate: some 200 requests, at least half a minute, within bounds."""
        wanted = min(max(200 / self.rate_rps, 30.0), 600.0)
        step_s = self.model.t0_s + self.model.decode_s
        return min(wanted, _MOST_STEPS * step_s, _MOST_REQUESTS / self.rate_rps)


@dataclass(frozen=True)
class Trial:
    """One candidate's gain over the incumbent in attainment points, with a 95% interval."""

    index: int  # among the candidates given
    gain: float
    low: float
    high: float
    attainment: float
    incumbent_attainment: float


def try_candidates(
    scenario: Scenario,
    incumbent: Schedule,
    candidates: Sequence[Schedule],
    repeats: int,
    seed: int,
    vary_model: bool,
) -> list[Trial]:
    """One trial per candidate, in the order given. NaN-free: repeats without requests count 0."""
    table = _attainments(scenario, [incumbent, *candidates], repeats, seed, vary_model)
    gains = table[1:] - table[0]
    mean = gains.mean(axis=1)
    if repeats > 1:
        half = student.ppf(0.975, repeats - 1) * gains.std(axis=1, ddof=1) / np.sqrt(repeats)
    else:
        half = np.full(len(gains), np.inf)
    base = float(table[0].mean())
    return [
        Trial(i, float(m), float(m - h), float(m + h), float(base + m), base)
        for i, (m, h) in enumerate(zip(mean, half, strict=True))
    ]


def _attainments(
    scenario: Scenario, schedules: Sequence[Schedule], repeats: int, seed: int, vary_model: bool
) -> Floats:
    """Attainment [schedule, repeat] on the same traffic and noise per repeat."""
    rng = np.random.default_rng(seed)
    length_s, n = scenario.length_s, len(schedules)
    rows = [poisson_row(rng, scenario.rate_rps, length_s, scenario.mix) for _ in range(repeats)]
    repeat = np.tile(np.arange(repeats), n)
    models = StepTable.of([scenario.model] * repeats)
    if vary_model:
        spread = np.clip(scenario.relative_errors, _LEAST_MODEL_ERROR, _MOST_MODEL_ERROR)
        models = models.scaled(np.exp(rng.standard_normal((repeats, 5)) * spread))
    run = simulate(
        Traffic.stack(rows).take(repeat),
        ScheduleTable.of([s for s in schedules for _ in range(repeats)]),
        models.take(repeat),
        cap_s=length_s * 1.25,
        noise_rows=repeat,
        seed=int(rng.integers(2**31)),
    )
    slo = SLOTable.of([scenario.slo]).take(np.zeros(len(repeat), dtype=np.int64))
    shares = attainment(run.latencies, slo, (_WARM_UP * length_s, length_s))
    return np.nan_to_num(shares).reshape(n, repeats)
