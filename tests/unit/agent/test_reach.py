from __future__ import annotations

import numpy as np

from autotuner.agent.candidates import Openings
from autotuner.agent.reach import Reach
from autotuner.domain.knobs import Knob, KnobSpace
from autotuner.domain.ports import ProposalContext, Workload
from autotuner.domain.slo import SLO

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (4, 8, 16, 32), max_step=1),
        Knob("schedule_policy", ("length-grouped", "fcfs")),
        Knob("block_size", (8, 16, 32)),
        Knob("data_parallel_size", (1, 2), live=False),
    )
)
START = SPACE.at((1, 1, 1, 0))


def reach() -> Reach:
    context = ProposalContext(SPACE, START, SLO(1.0), Workload(1.0, [10], [10]), None, 0.5)
    openings = Openings.of(context)
    assert openings is not None
    return Reach.of(openings)


def test_the_grid_moves_the_given_knobs_within_their_steps_the_incumbent_first() -> None:
    grid = reach().places(reach().known(), 1000, np.random.default_rng(0))
    assert len(grid) == 3 * 2 * 2
    assert grid[0].tolist() == [1, 1, 1, 0]
    assert (grid[:, 2] == 1).all()
    assert set(grid[:, 0].tolist()) == {0, 1, 2}


def test_a_large_grid_is_sampled_within_the_same_bounds() -> None:
    every = np.ones(4, dtype=np.bool_)
    some = reach().places(every, 20, np.random.default_rng(0))
    assert 5 < len(some) <= 21
    assert some[:, 0].max() <= 2
    assert some[0].tolist() == [1, 1, 1, 0]


def test_the_simulators_know_some_knobs_and_get_them_in_their_own_order() -> None:
    assert reach().known().tolist() == [True, True, False, True]
    places = np.array([[1, 1, 1, 0], [3, 0, 2, 1]])
    schedules, engines = reach().schedules(places), reach().engines(places)
    assert schedules.max_num_seqs.tolist() == [8, 32]
    assert schedules.length_grouped.tolist() == [False, True]
    assert engines.data.tolist() == [1, 2]


def test_neighbours_are_one_knob_away() -> None:
    places = reach().neighbours(~reach().known())
    assert places.tolist() == [[1, 1, 0, 0], [1, 1, 2, 0]]
    assert reach().settings(places[0])["block_size"] == 8


def test_two_levels_are_less_far_apart_than_a_whole_axis() -> None:
    axes = reach().axes(np.array([[0, 0, 0, 0], [3, 1, 2, 1]]))
    assert np.ptp(axes, axis=0).tolist() == [0.75, 0.25, 0.5, 0.25]
