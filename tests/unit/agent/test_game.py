from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.agent.deals import draw_deal
from autotuner.agent.game import Game, Rules
from autotuner.agent.ladder import (
    ATTENTION,
    DATA,
    DTYPE,
    KNOBS,
    PIPELINE,
    PLACING,
    SEQS,
    TENSOR,
    THREADS,
    Ladder,
    stack_levels,
)
from autotuner.agent.objective import GoalTable
from autotuner.agent.random_ladders import draw_ladder
from autotuner.agent.stepmodel import Ints
from autotuner.agent.systems import Systems, draw_systems
from autotuner.domain.goals import Goal, GoalKind

# Every knob can move.
WIDE = [
    [4, 16, 64],
    [0, 10],
    [64, 256, 1024],
    [0, 1],
    [0, 1],
    [0, 1],
    [0, 1, 2],
    [1, 2, 4],
    [1, 2],
    [1, 2, 4],
    [1, 2, 4],
]


def wide(n: int = 8, seed: int = 7, **told: object) -> Game:
    systems = draw_systems(np.random.default_rng(seed), n)
    ladder = stack_levels([WIDE] * n)
    return Game(systems, ladder, np.zeros((n, KNOBS), np.int64), **told)  # type: ignore[arg-type]


def moves(n: int = 8, **knobs: int) -> Ints:
    table = np.zeros((n, KNOBS), dtype=np.int64)
    for name, step in knobs.items():
        table[:, {"seqs": SEQS, "dtype": DTYPE, "attention": ATTENTION, "data": DATA}[name]] = step
    return table


def test_the_reward_is_the_change_of_the_objective_less_the_cost_of_changes() -> None:
    game = wide()
    before = game.objective
    reward = game.step(moves(seqs=1, dtype=1))
    np.testing.assert_allclose(reward, game.objective - before - 0.04)
    assert (game.last_move == moves(seqs=1, dtype=1)).all()


def test_a_rebuild_costs_its_share_of_the_horizon() -> None:
    rebuild_s = wide().systems.machines.rebuild_s
    game = wide(horizon_s=rebuild_s * 4)
    before = game.objective
    reward = game.step(moves(dtype=1, attention=1))
    np.testing.assert_allclose(reward, game.objective - before - 0.04 - 0.5 / 4)
    before = game.objective
    live = game.step(moves(seqs=1))
    np.testing.assert_allclose(live, game.objective - before - 0.02)


def test_a_rebuild_longer_than_the_horizon_costs_no_more_than_all_of_it() -> None:
    game = wide(horizon_s=np.full(8, 1e-3), rules=Rules(change_cost=0.0))
    before = game.objective
    np.testing.assert_allclose(game.step(moves(dtype=1)), game.objective - before - 0.5)


def test_goals_are_played_for() -> None:
    n = 40
    goodput = wide(n, seed=3)
    devices = wide(n, seed=3, goals=GoalTable.of([Goal(GoalKind.DEVICES, 0.9)] * n))
    assert (goodput.objective == goodput.prediction.attainment).all()
    served = devices.prediction.attainment > 0.95
    room = served & (devices.systems.machines.cores >= 2)
    assert room.any()
    reward = devices.step(moves(n, data=1))
    assert (reward[room & (devices.prediction.attainment > 0.95)] < -0.02).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_no_walk_leaves_the_ladder_or_the_machine(seed: int, walk: int) -> None:
    rng = np.random.default_rng(walk)
    game = wide(16, seed)
    for _ in range(6):
        reward = game.step(rng.integers(-1, 2, (16, KNOBS)))
        assert np.isfinite(reward).all()
        assert (game.positions >= 0).all()
        assert (game.positions < game.ladder.counts).all()
        machines = game.systems.machines
        assert (machines.places(game.ladder.engines(game.positions)) <= machines.cores).all()


def test_placing_beyond_the_machine_does_nothing_while_other_knobs_move() -> None:
    game = wide()
    machines = game.systems.machines
    for _ in range(6):
        game.step(np.ones((8, KNOBS), dtype=np.int64))
    full = game.positions
    assert (full[:, SEQS] == 2).all()
    over = np.zeros((8, KNOBS), dtype=np.int64)
    over[:, list(PLACING)] = 1
    before = game.positions.copy()
    reward = game.step(over)
    stuck = (game.last_move[:, list(PLACING)] == 0).all(axis=1)
    many = machines.cores < 8
    assert stuck[many].all()
    assert (reward[stuck] == 0).all()
    assert (game.positions[stuck] == before[stuck]).all()


def test_from_beyond_the_machine_there_is_a_way_back() -> None:
    game = wide()
    at = np.zeros((8, KNOBS), dtype=np.int64)
    at[:, [TENSOR, DATA]] = 2
    at[:, [PIPELINE, THREADS]] = 1
    game = Game(game.systems, game.ladder, at)
    game.step(moves(data=-1))
    assert (game.positions[:, DATA] == 1).all()


def test_the_load_goes_over_to_the_forecast_where_it_drifts() -> None:
    ratio = np.full(8, 1.5)
    still = moves()
    calm, drifting = wide(forecast_ratio=ratio), wide(forecast_ratio=ratio, rules=Rules(drift=1.0))
    rate = calm.systems.rate_rps
    calm.step(still)
    drifting.step(still)
    assert (calm.systems.rate_rps == rate).all()
    np.testing.assert_allclose(drifting.systems.rate_rps, rate * 1.5)
    assert (calm.last_reward == 0).all()


def test_a_restart_deals_new_games_in_place_of_the_old() -> None:
    game = Game.random(np.random.default_rng(0), 6, Rules(noise=0.02))
    rates, objective = game.systems.rate_rps.copy(), game.objective.copy()
    game.step(np.ones((6, KNOBS), dtype=np.int64))
    after = game.objective.copy()
    game.restart(np.array([1, 4]))
    changed = game.systems.rate_rps != rates
    assert changed.tolist() == [False, True, False, False, True, False]
    assert (game.last_move[[1, 4]] == 0).all()
    assert (game.last_reward[[1, 4]] == 0).all()
    rest = [0, 2, 3, 5]
    assert (game.objective[rest] == after[rest]).all()
    assert len(objective) == len(game)


def test_games_can_be_dealt_from_a_source_of_ones_own() -> None:
    def source(rng: np.random.Generator, n: int) -> tuple[Systems, Ladder]:
        systems = draw_systems(rng, n)
        return systems.with_rate(np.full(n, 0.125)), stack_levels([WIDE] * n)

    game = Game.random(np.random.default_rng(0), 5, source=source)
    assert (game.systems.rate_rps == 0.125).all()
    game.restart(np.array([0, 3]))
    assert (game.systems.rate_rps == 0.125).all()


def test_random_games_are_mostly_played_for_goodput_and_can_be_placed() -> None:
    deal = draw_deal(np.random.default_rng(5), 400)
    assert 0.6 < (deal.goals.kind == 0).mean() < 0.8
    assert set(deal.goals.kind.tolist()) == {0, 1, 2, 3}
    machines = deal.systems.machines
    assert (machines.places(deal.ladder.engines(deal.positions)) <= machines.cores).all()


def test_what_random_games_begin_with_fits_their_machines() -> None:
    rng = np.random.default_rng(2)
    systems = draw_systems(rng, 50)
    ladder = draw_ladder(rng, systems.machines)
    small = replace(systems.machines, cores=np.ones(50, np.int64))
    deal = draw_deal(rng, 50, lambda _, n: (replace(systems, machines=small), ladder))
    assert (small.places(deal.ladder.engines(deal.positions)) <= 1).all()
