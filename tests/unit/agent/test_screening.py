from __future__ import annotations

from dataclasses import replace

import numpy as np

from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.latencies import SLOTable
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.screening import Screening, length_s, played
from autotuner.agent.stepmodel import Floats, StepModel, StepTable
from autotuner.agent.systems import Systems, points_of_sample
from autotuner.agent.traffic import SampleMix
from autotuner.domain.slo import SLO

PROMPTS, OUTPUTS = [64, 100, 200, 1500], [20, 60, 90, 40]
MIX = SampleMix(PROMPTS, OUTPUTS)
SYSTEM = Systems.plain(
    StepTable.of([StepModel(6e-3, 0.45e-3, 0.45e-3, 3e-6, noise=0.05)]),
    np.array([1.2]),
    points_of_sample(np.array(PROMPTS, float), np.array(OUTPUTS, float)),
    SLOTable.of([SLO(1.5, 0.1)]),
)


def shares(schedules: list[Schedule], engines: list[Engine] | None = None, seed: int = 1) -> Floats:
    table = EngineTable.of([Engine()] * len(schedules) if engines is None else engines)
    return played(SYSTEM, MIX, ScheduleTable.of(schedules), table, 4, seed)


def test_the_same_settings_get_the_same_requests_and_noise() -> None:
    same = shares([Schedule(), Schedule()])
    assert same.shape == (2, 4)
    assert (same[0] == same[1]).all()
    assert len(set(same[0].tolist())) > 1


def test_short_chunks_keep_the_gap_target_that_long_ones_miss() -> None:
    short, long = shares(
        [Schedule(max_num_batched_tokens=96), Schedule(max_num_batched_tokens=2048)]
    ).mean(axis=1)
    assert short > long + 0.1


def test_a_second_replica_helps_an_overloaded_server() -> None:
    slow = Schedule(max_num_seqs=1, max_num_batched_tokens=96)
    one, two = shares([slow, slow], [Engine(), Engine(data=2)]).mean(axis=1)
    assert two > one


def test_it_is_the_same_for_a_seed() -> None:
    assert (shares([Schedule()], seed=5) == shares([Schedule()], seed=5)).all()
    assert (shares([Schedule()], seed=5) != shares([Schedule()], seed=6)).any()


def test_a_busy_server_is_watched_for_less_long() -> None:
    busy = replace(SYSTEM, rate_rps=np.array([400.0]))
    assert length_s(busy) <= 1_000 / 400
    assert length_s(busy) < length_s(SYSTEM)


def test_what_repeats_show_in_common_is_noise_that_gains_share() -> None:
    load = np.array([-0.2, -0.1, 0.1, 0.2])
    shares = 0.5 + np.stack([0 * load, 0.1 + 0.5 * load, 0.2 + load])
    told = Screening(None, None, 4, 1, np.array([3, 7]), shares).readings()  # type: ignore[arg-type]
    assert np.allclose(told.values, [0.1, 0.2])
    each = np.sqrt(np.diag(told.noise))
    assert np.allclose(each[1], load.std(ddof=1) / 2, atol=0.01)
    between = told.noise[0, 0] + told.noise[1, 1] - 2 * told.noise[0, 1]
    assert between < 0.5 * (told.noise[0, 0] + told.noise[1, 1])
