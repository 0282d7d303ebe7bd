"""The model's predictions beside what a simulated target does, and the alert that they part."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.agent.calibration import calibrate_target
from autotuner.agent.checks import FIGURES, Known, check, measured, predicted
from autotuner.agent.figures import Past
from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.agent.traffic import ClassMix, TokenClass
from autotuner.alerts.conditions import Condition
from autotuner.alerts.model_error import LEAST_CHECKS, model_errors, model_off
from autotuner.domain.knobs import Settings
from autotuner.domain.learning import ModelCheck
from autotuner.domain.ports import Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Outcome

MODEL = StepModel(t0_s=6e-3, decode_s=0.45e-3, prefill_s=0.42e-3, context_s=4e-6, noise=0.08)
SLOWER = StepModel(t0_s=12e-3, decode_s=0.9e-3, prefill_s=0.84e-3, context_s=8e-6, noise=0.08)
MIX = ClassMix((TokenClass(0.15, (400, 600), (16, 64)), TokenClass(0.85, (32, 128), (16, 64))))
SETTINGS = Settings({"max_num_seqs": 32, "max_num_batched_tokens": 512})
WANTED = SLO(ttft_s=0.6, gap_max_s=0.12)


def past_of(model: StepModel, length_s: float, seed: int, rate: float = 3.0) -> Past:
    system = SimulatedSystem(model, lambda _: rate, MIX, SETTINGS, seed=seed)
    requests = tuple(system.advance(length_s))
    return Past(tuple(system.steps(0)[0]), requests)


KNOWN = Known(calibrate_target(past_of(MODEL, 120.0, seed=1)), SETTINGS)


def errors(checks: tuple[ModelCheck, ...]) -> dict[str, float]:
    return {one.figure: one.error for one in checks}


def condition(model: StepModel, times: int) -> Condition:
    checks = [
        one
        for turn in range(times)
        for one in check(
            KNOWN, past_of(model, 90.0, seed=10 + turn), SETTINGS, WANTED, 20.0, 300.0 * turn
        )
    ]
    return model_off(model_errors(checks, now=3600.0))


def test_another_stretch_of_the_same_target_comes_as_predicted() -> None:
    found = errors(check(KNOWN, past_of(MODEL, 120.0, seed=2), SETTINGS, WANTED, 20.0, 0.0))
    assert set(found) == set(FIGURES)
    assert all(error < 0.12 for error in found.values()), found


def test_a_knob_that_moved_is_in_the_prediction() -> None:
    moved = SETTINGS.with_values(max_num_seqs=2)
    system = SimulatedSystem(MODEL, lambda _: 3.0, MIX, moved, seed=3)
    past = Past(requests=tuple(system.advance(120.0)), steps=tuple(system.steps(0)[0]))
    right = errors(check(KNOWN, past, moved, WANTED, 20.0, 0.0))
    wrong = errors(check(KNOWN, past, SETTINGS, WANTED, 20.0, 0.0))
    assert right["ttft_s"] < 0.2 < wrong["ttft_s"]


def test_model_off_is_silent_on_a_good_model() -> None:
    assert condition(MODEL, LEAST_CHECKS).active is False


def test_model_off_fires_where_steps_became_twice_as_slow() -> None:
    fires = condition(SLOWER, LEAST_CHECKS)
    assert fires.active is True
    assert "the agent's model is off by" in fires.summary
    assert f"median of {LEAST_CHECKS} checks" in fires.summary


def test_model_off_says_nothing_of_few_checks() -> None:
    assert condition(SLOWER, LEAST_CHECKS - 1).active is None


@pytest.mark.parametrize(("error", "active"), [(0.31, True), (0.25, None), (0.19, False)])
def test_model_off_has_a_hysteresis(error: float, active: bool | None) -> None:
    checks = [ModelCheck(float(i), "tpot_s", 1.0, 1.0 + error) for i in range(LEAST_CHECKS)]
    assert model_off(model_errors(checks, now=100.0)).active is active


def test_one_odd_check_and_old_ones_do_not_count() -> None:
    good = [ModelCheck(3000.0 + i, "goodput", 2.0, 2.0) for i in range(LEAST_CHECKS)]
    odd = ModelCheck(3010.0, "goodput", 2.0, 0.1)
    old = [ModelCheck(float(i), "goodput", 2.0, 0.1) for i in range(20)]
    assert model_off(model_errors([*old, *good, odd], now=4000.0)).active is False


def test_too_few_requests_or_an_unfitted_model_are_not_compared() -> None:
    few = past_of(MODEL, 6.0, seed=4)
    assert check(KNOWN, few, SETTINGS, WANTED, 0.0, 0.0) == ()
    prior = Known(calibrate_target(Past()), SETTINGS)
    assert check(prior, past_of(MODEL, 60.0, seed=4), SETTINGS, WANTED, 0.0, 0.0) == ()


def test_two_workers_share_the_requests() -> None:
    lanes = [SimulatedSystem(MODEL, lambda _: 3.0, MIX, SETTINGS, seed=s) for s in (5, 6)]
    both = sorted((r for lane in lanes for r in lane.advance(90.0)), key=lambda r: r.arrival)
    steps = tuple(lanes[0].steps(0)[0])
    pair = Known(KNOWN.calibration, SETTINGS, replicas=2)
    together = errors(check(pair, Past(steps, tuple(both)), SETTINGS, WANTED, 20.0, 0.0))
    alone = errors(check(KNOWN, Past(steps, tuple(both)), SETTINGS, WANTED, 20.0, 0.0))
    assert together["e2el_s"] < 0.2 < alone["e2el_s"]


def test_a_workload_is_predicted_as_it_is_served() -> None:
    past = past_of(MODEL, 200.0, seed=7)
    workload = Workload(
        3.0,
        tuple(r.prompt_tokens for r in past.requests),
        tuple(r.output_tokens for r in past.requests),
    )
    expected = predicted(KNOWN, workload, SETTINGS, WANTED)
    found = measured(past.requests, WANTED, (20.0, 190.0))
    assert expected["tpot_s"] == pytest.approx(found["tpot_s"], rel=0.15)
    assert expected["attainment"] == pytest.approx(found["attainment"], abs=0.1)
    assert predicted(KNOWN, Workload(0.0), SETTINGS, WANTED) == {}


def test_requests_that_failed_count_against_what_was_measured() -> None:
    past = past_of(MODEL, 60.0, seed=8, rate=1.0)
    lost = tuple(
        replace(r, outcome=Outcome.REJECTED, ttft_s=None, output_tokens=0) for r in past.requests
    )
    span = (0.0, 60.0)
    assert measured(past.requests, WANTED, span)["attainment"] > 0.8
    assert measured(lost, WANTED, span)["attainment"] == 0.0
    assert math.isnan(measured((), WANTED, span)["attainment"])
