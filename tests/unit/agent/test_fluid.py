"""The analytic model is there to rank settings: it is held to the simulator's ranking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from autotuner.agent.des import simulate
from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.fluid import Prediction, predict
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.machine import MachineTable
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
                bool(rng.random() < 0.5),
            )
            for _ in range(SETTINGS)
        ]
    )


def random_engines(rng: np.random.Generator) -> EngineTable:
    sizes = rng.choice([1, 1, 2, 4], (4, SETTINGS)).astype(np.int64)
    return EngineTable(rng.integers(0, 3, SETTINGS), rng.integers(0, 3, SETTINGS), *sizes)


def simulated(
    system: Systems, schedules: ScheduleTable, engines: EngineTable, rng: np.random.Generator
) -> Floats:
    """Attainment of each setting in the discrete-step simulator, some 70 requests."""
    rate, rows = float(system.rate_rps[0]), np.zeros(SETTINGS, dtype=np.int64)
    length_s = 70 / rate
    traffic = Traffic.stack([poisson_row(rng, rate, length_s, system.mix.sampler(0))]).take(rows)
    serving = system.take(rows).serving(engines, schedules.memory_efficient)
    run = simulate(traffic, schedules, serving, cap_s=1.3 * length_s)
    return attainment(run.latencies, system.slo.take(rows), (0.1 * length_s, length_s))


def without_limits(systems: Systems) -> Systems:
    return Systems.plain(systems.steps, systems.rate_rps, systems.mix, systems.slo)


def tight(systems: Systems) -> Systems:
    """Memory for eight average requests, and always for the longest."""
    length = systems.mix.prompt_tokens + systems.mix.output_tokens
    longest = (length * (systems.mix.weight > 0)).max(1)
    kv = np.maximum((length * systems.mix.weight).sum(1) * 8, 1.2 * longest)
    plain = without_limits(systems)
    return replace(plain, machines=replace(plain.machines, kv_tokens=kv))


@pytest.mark.parametrize(
    ("world", "with_engines"),
    [(without_limits, False), (tight, False), (lambda s: s, True)],
    ids=["scheduling alone", "tight memory", "every knob"],
)
def test_it_ranks_settings_as_the_simulator_does(
    world: Callable[[Systems], Systems], with_engines: bool
) -> None:
    """On systems that can be served well at all."""
    rng = np.random.default_rng(11)
    systems = world(draw_systems(rng, 14))
    reference = EngineTable.of([Engine()] * SETTINGS)
    correlations = []
    for i in range(len(systems)):
        one, schedules = systems.take(np.array([i])), random_schedules(rng)
        engines = random_engines(rng) if with_engines else reference
        truth = simulated(one, schedules, engines, rng)
        many = one.take(np.zeros(SETTINGS, dtype=np.int64))
        guess = predict(many, schedules, engines).attainment
        if np.ptp(truth) > 0.1 and truth.max() >= 0.5:
            correlations.append(float(spearmanr(truth, guess).statistic))
    assert len(correlations) >= 6
    assert np.median(correlations) >= 0.7


def predicted(schedule: Schedule, rate: float = 2.0, slo: SLO = SLO(1.5, 0.1)) -> float:  # noqa: B008
    mix = points_of_sample(np.array([128.0] * 9 + [1500.0]), np.array([56.0] * 10))
    system = Systems.plain(StepTable.of([CPU_PRIOR]), np.array([rate]), mix, SLOTable.of([slo]))
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
        seen = predict(systems.take(rows), random_schedules(rng), random_engines(rng))
        for field in fields(Prediction):
            assert np.isfinite(getattr(seen, field.name)).all(), field.name
        for share in (seen.attainment, seen.busy, seen.served):
            assert ((share >= 0) & (share <= 1)).all()
        assert (seen.energy_j_per_token > 0).all()


def one(
    *,
    rate: float = 2.0,
    kv_tokens: float = np.inf,
    prefix_share: float = 0.0,
    patience_s: float = np.inf,
    prompt: float = 200.0,
    output: float = 100.0,
    slo: SLO = SLO(1.5),  # noqa: B008
    schedule: Schedule = Schedule(32, 0.0, 256),  # noqa: B008
    engine: Engine = Engine(),  # noqa: B008
) -> Prediction:
    mix = points_of_sample(np.full(20, prompt), np.full(20, output))
    machines = MachineTable.of_steps(StepTable.of([CPU_PRIOR]), cores=8, kv_tokens=kv_tokens)
    system = Systems(
        machines,
        np.array([rate]),
        mix,
        SLOTable.of([slo]),
        np.array([prefix_share]),
        np.array([patience_s]),
    )
    return predict(system, ScheduleTable.of([schedule]), EngineTable.of([engine]))


def test_memory_bounds_how_many_run_at_once() -> None:
    roomy, small = one(rate=4.0), one(rate=4.0, kv_tokens=900.0)
    assert small.attainment[0] < roomy.attainment[0] - 0.3
    assert roomy.kv_load[0] == 0
    assert small.kv_load[0] > 1
    assert small.decoding[0] <= 3


def test_a_request_longer_than_the_memory_is_never_served() -> None:
    assert one(rate=0.1, kv_tokens=310.0).attainment[0] > 0.9
    assert one(rate=0.1, kv_tokens=290.0).attainment[0] == 0


def test_optimistic_admission_holds_more_until_it_thrashes() -> None:
    careful, optimistic = (Schedule(64, 0.0, 256, False, e) for e in (False, True))

    def load(schedule: Schedule, rate: float, slo: SLO) -> Prediction:
        return one(
            rate=rate, kv_tokens=3000.0, prompt=50.0, output=300.0, schedule=schedule, slo=slo
        )

    calm = SLO(ttft_s=1.0)
    few, many = (load(s, 2.0, calm) for s in (careful, optimistic))
    assert many.attainment[0] > few.attainment[0] + 0.1
    gaps = SLO(gap_max_s=0.3)
    assert load(careful, 6.0, gaps).gap_ok[0] > 0.9
    assert load(optimistic, 6.0, gaps).gap_ok[0] < 0.3
    busy = [load(s, 6.0, calm).prefill_load[0] for s in (careful, optimistic)]
    assert busy[1] > 1.5 * busy[0]


def test_memory_for_all_makes_admission_all_one() -> None:
    careful, optimistic = (one(schedule=Schedule(32, 0.0, 256, False, e)) for e in (False, True))
    assert careful.attainment[0] == optimistic.attainment[0]


def test_prefix_hits_save_work() -> None:
    loads = [one(prefix_share=share).prefill_load[0] for share in (0.0, 0.4, 0.8)]
    assert loads == sorted(loads, reverse=True)
    assert loads[2] < 0.5 * loads[0]


def test_a_window_saves_reading_long_contexts_alone() -> None:
    long, short = (
        [one(rate=0.05, prompt=p, engine=Engine(attention=a)).tpot_s[0] for a in (0, 1)]
        for p in (8000.0, 200.0)
    )
    assert long[1] < 0.95 * long[0]
    assert short[1] == short[0]


def test_replicas_share_the_load() -> None:
    alone, four = (one(rate=6.0, engine=Engine(data=d)) for d in (1, 4))
    assert four.prefill_load[0] < 0.3 * alone.prefill_load[0]
    assert four.attainment[0] > alone.attainment[0] + 0.3
    assert four.devices[0] == 4


def test_those_who_leave_make_room_for_the_others() -> None:
    """A queue that would grow for ever ends at the patience, which here is within the target."""
    slo = SLO(ttft_s=20.0)
    endless, leaving = (one(rate=6.0, slo=slo, patience_s=p) for p in (np.inf, 20.0))
    assert endless.seat_load[0] > 1
    assert leaving.ttft_ok[0] > endless.ttft_ok[0] + 0.1
    assert leaving.e2el_s[0] < endless.e2el_s[0]


def test_who_has_no_patience_at_all_is_never_served() -> None:
    assert one(patience_s=0.01, slo=SLO()).attainment[0] < 0.01


def test_energy_per_token_falls_as_work_fills_the_same_devices() -> None:
    energies = [one(rate=r).energy_j_per_token[0] for r in (0.2, 1.0, 3.0)]
    assert energies == sorted(energies, reverse=True)
    idle = one(rate=0.2, engine=Engine(data=8)).energy_j_per_token[0]
    assert idle > 3 * energies[0]
    assert 0 <= one(rate=0.2).busy[0] < one(rate=3.0).busy[0] <= 1
