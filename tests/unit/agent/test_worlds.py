from __future__ import annotations

import numpy as np

from autotuner.agent.candidates import Openings
from autotuner.agent.latencies import SLOTable
from autotuner.agent.reach import Reach
from autotuner.agent.stepmodel import CPU_PRIOR, StepTable
from autotuner.agent.systems import Systems, points_of_sample
from autotuner.agent.worlds import Doubt, attainments, behaviour, draw_worlds, predicted
from autotuner.domain.knobs import Knob, KnobSpace
from autotuner.domain.ports import ProposalContext, Workload
from autotuner.domain.slo import SLO

SPACE = KnobSpace(
    (Knob("max_num_seqs", (8, 64, 128)), Knob("max_num_batched_tokens", (64, 256, 1024)))
)
SYSTEM = Systems.plain(
    StepTable.of([CPU_PRIOR]),
    np.array([1.0]),
    points_of_sample(np.array([60.0, 200, 900]), np.array([16.0, 40, 30])),
    SLOTable.of([SLO(1.5, 0.1)]),
)
PLACES = np.array([[0, 0], [1, 0], [2, 0], [1, 2]])


def reach() -> Reach:
    context = ProposalContext(SPACE, SPACE.at((1, 2)), SLO(1.5, 0.1), Workload(1.0), None, 0.5)
    openings = Openings.of(context)
    assert openings is not None
    return Reach.of(openings)


def test_the_first_world_is_the_model_as_it_is_and_the_others_lie_around_it() -> None:
    worlds = draw_worlds(SYSTEM, np.zeros(5), 40, np.random.default_rng(0))
    assert worlds.steps.t0_s[0] == CPU_PRIOR.t0_s
    assert worlds.slo.ttft_s[0] == 1.5
    assert 0.03 < np.log(worlds.steps.t0_s).std() < 0.07
    values = attainments(worlds, reach(), PLACES)
    assert values.shape == (40, 4)
    assert (values[0] == predicted(SYSTEM, reach(), PLACES).attainment).all()
    assert values.std(axis=0).max() > 0.01


def test_a_target_that_is_not_asked_for_stays_so() -> None:
    worlds = draw_worlds(SYSTEM, np.zeros(5), 5, np.random.default_rng(0))
    assert np.isinf(worlds.slo.e2el_s).all()


def test_a_coefficient_known_badly_varies_more() -> None:
    errors = np.array([0.3, 0, 0, 0, 0])
    worlds = draw_worlds(SYSTEM, errors, 200, np.random.default_rng(0))
    assert np.log(worlds.steps.t0_s).std() > 2 * np.log(worlds.steps.decode_s).std()


def test_settings_that_change_nothing_behave_alike() -> None:
    axes = behaviour(predicted(SYSTEM, reach(), PLACES))
    seats = np.linalg.norm(axes[1] - axes[2])
    chunks = np.linalg.norm(axes[1] - axes[3])
    assert seats < 0.1 < chunks


def test_a_load_is_known_as_well_as_its_requests_tell_it() -> None:
    few, many = Doubt.of_sample(np.full(25, 100.0)), Doubt.of_sample(np.full(10_000, 100.0))
    assert few.rate == 0.2  # a Poisson count of 25
    assert many.rate == Doubt.rate
    uneven = np.tile([10.0, 1000.0], 13)
    assert Doubt.of_sample(uneven).rate > few.rate
