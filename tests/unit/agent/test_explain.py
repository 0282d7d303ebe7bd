from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from autotuner.agent.engine import EngineTable
from autotuner.agent.explain import Belief, explained, nearest, sentence
from autotuner.agent.fluid import Prediction, predict
from autotuner.agent.latencies import SLOTable
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import CPU_PRIOR, StepTable
from autotuner.agent.systems import Systems, points_of_sample
from autotuner.domain.experiment import Verdict
from autotuner.domain.explanation import Explanation
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import PastTrial, ProposalContext, Workload
from autotuner.domain.slo import SLO

SPACE = KnobSpace(
    (Knob("max_num_seqs", (8, 16, 32)), Knob("max_num_batched_tokens", (64, 256, 1024)))
)
START, NEXT = SPACE.at((2, 2)), SPACE.at((2, 0))
SLO_ = SLO(1.5, 0.1)
SYSTEM = Systems.plain(
    StepTable.of([CPU_PRIOR]),
    np.array([2.0]),
    points_of_sample(np.array([60.0, 200, 900]), np.array([16.0, 40, 30])),
    SLOTable.of([SLO_]),
)
CONTEXT = ProposalContext(
    SPACE, START, SLO_, Workload(2.0, [60, 200, 900], [16, 40, 30]), None, 0.6
)
BELIEF = Belief(0.25, 0.05, 0.85, 0.6, "policy", 17, "fitted to 100 steps")


def prediction() -> Prediction:
    schedules = ScheduleTable.of([Schedule.of(START), Schedule.of(NEXT)])
    return predict(SYSTEM.take(np.zeros(2, np.int64)), schedules)


def why(context: ProposalContext = CONTEXT, belief: Belief = BELIEF) -> Explanation:
    return explained(context, SYSTEM, prediction(), NEXT, belief)


def trial(place: tuple[int, int], effect: float, name: str) -> PastTrial:
    treatment = SPACE.at(place)
    return PastTrial(
        START, treatment, effect, Verdict.REJECTED, effect - 0.1, effect + 0.1, id=name
    )


def test_the_interval_is_two_deviations_to_either_side() -> None:
    told = why()
    assert (told.low, told.high) == pytest.approx((0.25 - 0.098, 0.25 + 0.098))


def test_no_attainment_lies_beyond_what_is_possible() -> None:
    told = why(belief=replace(BELIEF, effect=0.38, deviation=0.3, attainment=0.98))
    assert told.high == pytest.approx(0.4)
    assert told.low == pytest.approx(0.38 - 0.588)


def test_the_figures_are_the_models_and_the_attainments_the_corrected_ones() -> None:
    told = why()
    assert told.incumbent["attainment"] == 0.6
    assert told.candidate["attainment"] == 0.85
    assert told.candidate["full_step_s"] == prediction().full_step_s[1]
    assert told.candidate["full_step_s"] < told.incumbent["full_step_s"]
    assert told.seen["prompt_tokens_tail"] == pytest.approx(900)


def test_what_is_not_known_is_left_out() -> None:
    told = why(replace(CONTEXT, attainment=math.nan, forecast_rate_rps=math.nan))
    assert "attainment" not in told.seen
    assert all(map(math.isfinite, told.seen.values()))


def test_the_nearest_trials_come_first_and_foreign_ones_not_at_all() -> None:
    foreign = PastTrial(START, Settings({"colour": "red"}), 0.1, Verdict.REJECTED)
    unknown = replace(trial((2, 0), 0.0, "nan"), effect=math.nan)
    past = (trial((0, 2), -0.1, "far"), foreign, unknown, trial((2, 1), 0.1, "near"))
    told = nearest(SPACE, past, NEXT)
    assert [(one.experiment, one.distance) for one in told] == [("near", 1), ("far", 4)]
    assert told[0].changes == {"max_num_batched_tokens": 256}


def test_the_sentence_tells_the_change_the_effect_and_the_nearest_trial() -> None:
    context = replace(CONTEXT, past=(trial((2, 1), 0.1, "near"),))
    text = sentence(context, NEXT, why(context, replace(BELIEF, method="correction")))
    for words in (
        "attainment 0.60 of",
        "max_num_batched_tokens 1024 → 64",
        "+0.250 attainment (95% interval +0.152 to +0.348",
        "the best of 17 candidates",
        "1 level from a trial that ended REJECTED (+0.100)",
        "fitted to 100 steps",
    ):
        assert words in text


def test_engines_have_devices_in_the_figures() -> None:
    schedules = ScheduleTable.of([Schedule.of(START), Schedule.of(NEXT)])
    two = np.full(2, 2, np.int64)
    one = np.ones(2, np.int64)
    engines = EngineTable(0 * one, one, one, one, two, one)
    told = predict(SYSTEM.take(np.zeros(2, np.int64)), schedules, engines)
    assert explained(CONTEXT, SYSTEM, told, NEXT, BELIEF).candidate["devices"] == 2
