"""The analytic model is there to rank settings: it is held to the simulator's ranking."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from autotuner.agent.des import simulate
from autotuner.agent.fluid import predict
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import CPU_PRIOR, Floats, StepTable
from autotuner.agent.systems import Systems, draw_systems, points_of_sample
from autotuner.agent.traffic import Traffic, poisson_row
from autotuner.domain.slo import SLO

SETTINGS = 16


def random_schedules(rng: np.random.Generator) -> ScheduleTable:
    return ScheduleTable.of(
        [
            Schedule(
                int(rng.choice([1, 4, 8, 16, 32, 64])),
                float(rng.choice([0, 0, 0.01, 0.05])),
                int(rng.choice([32, 64, 128, 256, 512, 2048])),
                bool(rng.random() < 0.5),
            )
            for _ in range(SETTINGS)
        ]
    )


def simulated(system: Systems, schedules: ScheduleTable, rng: np.random.Generator) -> Floats:
    """Attainment of each schedule in the discrete-step simulator, some 60 requests."""
    rate, rows = float(system.rate_rps[0]), np.zeros(SETTINGS, dtype=np.int64)
    length_s = 60 / rate
    traffic = Traffic.stack([poisson_row(rng, rate, length_s, system.mix.sampler(0))]).take(rows)
    run = simulate(traffic, schedules, system.steps.take(rows), cap_s=1.3 * length_s)
    return attainment(run.latencies, system.slo.take(rows), (0.1 * length_s, length_s))


def test_it_ranks_settings_as_the_simulator_does() -> None:
    rng = np.random.default_rng(11)
    systems = draw_systems(rng, 12)
    correlations = []
    for i in range(len(systems)):
        one, schedules = systems.take(np.array([i])), random_schedules(rng)
        truth = simulated(one, schedules, rng)
        guess = predict(one.take(np.zeros(SETTINGS, dtype=np.int64)), schedules).attainment
        if np.ptp(truth) > 0.1:
            correlations.append(float(spearmanr(truth, guess).statistic))
    assert len(correlations) >= 6
    assert np.median(correlations) >= 0.7


def predicted(schedule: Schedule, rate: float = 2.0, slo: SLO = SLO(1.5, 0.1)) -> float:  # noqa: B008
    mix = points_of_sample(np.array([128.0] * 9 + [1500.0]), np.array([56.0] * 10))
    system = Systems(StepTable.of([CPU_PRIOR]), np.array([rate]), mix, SLOTable.of([slo]))
    return float(predict(system, ScheduleTable.of([schedule])).attainment[0])


def test_the_chunk_has_an_interior_optimum_under_a_gap_target() -> None:
    low, middle, high = (predicted(Schedule(16, 0.0, c)) for c in (16, 128, 2048))
    assert middle > low + 0.2
    assert middle > high + 0.2


def test_without_targets_everything_is_met_while_there_is_room() -> None:
    assert predicted(Schedule(16, 0.0, 512), rate=1.0, slo=SLO()) > 0.99


def test_more_rate_lowers_attainment() -> None:
    shares = [predicted(Schedule(16, 0.0, 128), rate=r) for r in (0.5, 2.0, 4.0, 12.0)]
    assert shares == sorted(shares, reverse=True)


def test_predictions_are_finite_for_every_random_system() -> None:
    rng = np.random.default_rng(3)
    systems = draw_systems(rng, SETTINGS * 30)
    for start in range(0, len(systems), SETTINGS):
        rows = np.arange(start, start + SETTINGS)
        seen = predict(systems.take(rows), random_schedules(rng))
        assert np.isfinite(seen.full_step_s).all()
        assert ((seen.attainment >= 0) & (seen.attainment <= 1)).all()
