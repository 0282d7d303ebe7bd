"""What settings are worth: the attainment, or what is saved where it is met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.fluid import Prediction, predict
from autotuner.agent.latencies import SLOTable
from autotuner.agent.machine import MachineTable
from autotuner.agent.objective import GoalTable, objective
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import CPU_PRIOR, Floats, StepTable
from autotuner.agent.systems import Systems, points_of_sample
from autotuner.domain.goals import Goal, GoalKind
from autotuner.domain.slo import SLO

SAVING = (GoalKind.COST, GoalKind.ENERGY, GoalKind.DEVICES)
N = 41


def predictions() -> Prediction:
    """One system, N times the same settings."""
    mix = points_of_sample(np.array([128.0, 300.0]), np.array([50.0, 50.0]))
    machines = MachineTable.of_steps(StepTable.of([CPU_PRIOR]), cores=8)
    system = Systems.of(machines, np.array([1.0]), mix, SLOTable.of([SLO(ttft_s=1.0)]))
    return predict(system.take(np.zeros(N, np.int64)), ScheduleTable.of([Schedule()] * N))


def worth(prediction: Prediction, goal: Goal) -> Floats:
    return objective(prediction, GoalTable.of([goal] * N))


def test_goodput_is_worth_its_attainment() -> None:
    seen = replace(predictions(), attainment=np.linspace(0, 1, N))
    assert (worth(seen, Goal()) == seen.attainment).all()


@pytest.mark.parametrize("kind", SAVING)
def test_more_attainment_is_never_worth_less(kind: GoalKind) -> None:
    values = worth(replace(predictions(), attainment=np.linspace(0, 1, N)), Goal(kind, 0.9))
    assert (np.diff(values) >= 0).all()
    assert values[0] == 0
    assert values[-1] <= 1


@pytest.mark.parametrize("kind", SAVING)
def test_taking_less_is_worth_more_once_the_floor_is_met(kind: GoalKind) -> None:
    base, more = predictions(), np.linspace(1, 8, N)
    greedy = replace(
        base,
        attainment=np.full(N, 0.95),
        devices=base.devices * more,
        energy_j_per_token=base.energy_j_per_token * more,
    )
    met, missed = worth(greedy, Goal(kind, 0.9)), worth(greedy, Goal(kind, 0.99))
    assert (np.diff(met) < 0).all()
    assert (met > 0.5).all()
    assert (missed == missed[0]).all()
    assert missed[0] < 0.5


def test_no_saving_makes_up_for_a_missed_floor() -> None:
    seen = predictions()
    attainment = np.where(np.arange(N) == 0, 0.9, 0.8)
    devices = np.where(np.arange(N) == 0, 1000.0, 0.001)
    values = worth(
        replace(seen, attainment=attainment, devices=devices), Goal(GoalKind.DEVICES, 0.9)
    )
    assert values[0] > values[1:].max()


def test_capacity_that_serves_less_makes_a_token_cost_more() -> None:
    seen = replace(predictions(), attainment=np.ones(N), served=np.linspace(0.2, 1, N))
    assert (np.diff(worth(seen, Goal(GoalKind.COST, 0.9))) > 0).all()


def test_fewer_replicas_win_a_light_load_and_lose_a_heavy_one() -> None:
    mix = points_of_sample(np.full(20, 128.0), np.full(20, 50.0))
    machines = MachineTable.of_steps(StepTable.of([CPU_PRIOR]), cores=8)
    slo = SLOTable.of([SLO(ttft_s=1.0, tpot_s=0.1)])
    engines = EngineTable.of([Engine(data=1), Engine(data=8)])

    def best(rate_rps: float, kind: GoalKind) -> int:
        system = Systems.of(machines, np.array([rate_rps]), mix, slo).take(np.array([0, 0]))
        seen = predict(system, ScheduleTable.of([Schedule(16)] * 2), engines)
        return int(objective(seen, GoalTable.of([Goal(kind, 0.9)] * 2)).argmax())

    for kind in SAVING:
        assert best(0.5, kind) == 0
        assert best(30.0, kind) == 1


def test_rows_are_taken() -> None:
    goals = GoalTable.of([Goal(), Goal(GoalKind.ENERGY, 0.8), Goal(GoalKind.COST, 0.7)])
    two = goals.take(np.array([2, 1]))
    assert len(two) == 2
    assert two.attainment.tolist() == [0.7, 0.8]
    assert two.kind.tolist() == [1, 2]
