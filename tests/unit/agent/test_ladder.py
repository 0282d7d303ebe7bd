from __future__ import annotations

import numpy as np
import pytest

from autotuner.agent.ladder import (
    ATTENTION,
    BUDGET,
    DTYPE,
    KNOBS,
    MEMORY,
    SEQS,
    TENSOR,
    THREADS,
    SpaceLadder,
    stack_levels,
)
from autotuner.agent.machine import draw_machines
from autotuner.agent.random_ladders import draw_ladder
from autotuner.agent.schedule import AGENT_KNOBS
from autotuner.domain.errors import InvalidSettingsError
from autotuner.domain.knobs import Knob, KnobSpace, Settings

ROW = [[4, 8], [0, 5, 20], [64], [0, 1], [0, 1], [0], [0, 1, 2], [1, 2], [1], [1], [1, 2]]


def test_a_ladder_holds_each_knobs_own_levels() -> None:
    ladder = stack_levels([ROW])
    assert ladder.counts.tolist() == [[2, 3, 1, 2, 2, 1, 3, 2, 1, 1, 2]]
    at = np.array([[1, 2, 0, 1, 1, 0, 2, 1, 0, 0, 0]])
    schedules, engines = ladder.schedules(at), ladder.engines(at)
    assert schedules.max_num_seqs.tolist() == [8]
    assert schedules.batch_timeout_s.tolist() == [0.02]
    assert schedules.length_grouped.tolist() == [True]
    assert schedules.memory_efficient.tolist() == [True]
    assert (engines.weight_dtype.tolist(), engines.tensor.tolist()) == ([2], [2])
    assert engines.threads.tolist() == [1]


def test_moves_stay_on_the_ladder() -> None:
    ladder = stack_levels([ROW])
    bottom = np.zeros((1, KNOBS), dtype=np.int64)
    assert (ladder.move(bottom, bottom - 1) == bottom).all()
    top = ladder.counts - 1
    assert (ladder.move(top, np.ones_like(top)) == top).all()


def test_a_wider_ladder_reads_the_same() -> None:
    ladder = stack_levels([ROW])
    top = ladder.counts - 1
    assert (ladder.widened(9).values(top) == ladder.values(top)).all()


def test_random_ladders_rise_and_fit_the_machine() -> None:
    rng = np.random.default_rng(0)
    machines = draw_machines(rng, 300)
    ladder = draw_ladder(rng, machines)
    for row in range(300):
        for knob in range(KNOBS):
            levels = ladder.levels[row, knob, : ladder.counts[row, knob]]
            assert (np.diff(levels) > 0).all()
        for knob in (TENSOR, THREADS):
            assert ladder.levels[row, knob].max() <= machines.cores[row]
    moving = (ladder.counts > 1).sum(axis=1)
    assert moving.min() >= 1
    assert 2 <= np.median(moving) <= 6
    assert (ladder.counts > 1).any(axis=0).all()


def test_a_knob_that_stands_still_has_the_reference_engines_value() -> None:
    rng = np.random.default_rng(1)
    machines = draw_machines(rng, 300)
    ladder = draw_ladder(rng, machines)
    still = ladder.counts[:, DTYPE] == 1
    at = ladder.engines(np.zeros_like(ladder.counts))
    assert still.sum() > 50
    assert (at.weight_dtype == machines.reference.weight_dtype)[still].all()


SPACE = KnobSpace(
    (
        Knob("max_num_batched_tokens", (64, 128, 256, 512, 1024), max_step=1),
        Knob("memory_efficient", (False, True)),
        Knob("weight_dtype", ("int8", "float32"), live=False),
        Knob("batch_sizes", ("exact", "powers-of-two")),
    )
)
INCUMBENT = Settings(
    {
        "max_num_batched_tokens": 256,
        "memory_efficient": False,
        "weight_dtype": "float32",
        "batch_sizes": "exact",
        "tensor_parallel_size": 2,
    }
)


def test_a_space_becomes_the_levels_within_reach() -> None:
    walker = SpaceLadder.of(SPACE, INCUMBENT)
    assert walker.movable
    assert walker.ladder.counts[0, BUDGET] == 3
    assert walker.ladder.levels[0, BUDGET, :3].tolist() == [128, 256, 512]
    assert walker.start[BUDGET] == 1
    assert walker.ladder.counts[0, [SEQS, ATTENTION]].tolist() == [1, 1]
    assert not walker.ladder.live[0, DTYPE]
    assert walker.ladder.live[0, BUDGET]


def test_knobs_outside_the_space_stand_at_the_incumbents_value_or_the_default() -> None:
    walker = SpaceLadder.of(SPACE, INCUMBENT)
    assert walker.ladder.counts[0, TENSOR] == 1
    assert walker.ladder.levels[0, TENSOR, 0] == 2
    assert walker.ladder.levels[0, SEQS, 0] == 32


def test_words_stand_in_the_simulators_order_and_come_back_as_words() -> None:
    walker = SpaceLadder.of(SPACE, INCUMBENT)
    assert walker.ladder.levels[0, DTYPE, :2].tolist() == [0, 2]
    at = walker.start.copy()
    at[DTYPE], at[MEMORY], at[BUDGET] = 1, 1, 2
    moved = walker.settings(at.tolist())
    assert moved.changed_from(INCUMBENT) == {
        "weight_dtype": "int8",
        "memory_efficient": True,
        "max_num_batched_tokens": 512,
    }
    assert moved["memory_efficient"] is True
    assert walker.settings(walker.start.tolist()) == INCUMBENT


def test_every_place_of_a_ladder_is_settings_of_the_space() -> None:
    walker = SpaceLadder.of(SPACE, INCUMBENT)
    rng = np.random.default_rng(3)
    for _ in range(50):
        settings = walker.settings(rng.integers(0, walker.ladder.counts[0]).tolist())
        for knob in SPACE:
            knob.index(settings[knob.name])
        assert SPACE.within_step(INCUMBENT, settings)


def test_a_knob_with_a_word_that_the_simulator_does_not_know_stands_still() -> None:
    space = KnobSpace((Knob("schedule_policy", ("fcfs", "priority")), Knob("block_size", (8, 16))))
    walker = SpaceLadder.of(space, Settings({"schedule_policy": "fcfs", "block_size": 8}))
    assert not walker.movable
    odd = Settings({"schedule_policy": "priority", "block_size": 8})
    assert SpaceLadder.of(space, odd).settings([0] * KNOBS) == odd


def test_an_incumbent_outside_the_space_is_refused() -> None:
    space = KnobSpace((Knob("weight_dtype", ("int8", "float32")),))
    with pytest.raises(InvalidSettingsError, match="weight_dtype"):
        SpaceLadder.of(space, Settings({"weight_dtype": "bfloat16"}))
    with pytest.raises(KeyError):
        SpaceLadder.of(space, Settings({}))


def test_the_agent_knows_eleven_knobs() -> None:
    assert len(AGENT_KNOBS) == KNOBS == 11
