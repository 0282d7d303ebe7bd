from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from autotuner.agent.environment import GameConfig, TuningEnv, TuningVecEnv
from autotuner.agent.features import BOUND, FEATURES
from autotuner.agent.game import Game
from autotuner.agent.ladder import KNOBS, draw_ladder, stack_levels
from autotuner.agent.systems import draw_systems


def test_gymnasium_accepts_the_single_environment() -> None:
    with warnings.catch_warnings():
        # It asks for gymnasium.make; this environment is made directly.
        warnings.filterwarnings("ignore", message=".*not having a spec.*")
        check_env(TuningEnv(), skip_render_check=True)


def test_step_before_reset_is_refused() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded):
        TuningEnv().step(np.ones(KNOBS, dtype=np.int64))


def test_an_episode_is_truncated_at_its_length() -> None:
    env = TuningEnv(GameConfig(episode_steps=3))
    env.reset(seed=1)
    ends = [env.step(np.ones(KNOBS, dtype=np.int64))[3] for _ in range(3)]
    assert ends == [False, False, True]


def test_many_games_end_at_different_times_and_start_anew() -> None:
    env = TuningVecEnv(40, seed=2, config=GameConfig(episode_steps=6))
    rng = np.random.default_rng(0)
    assert np.asarray(env.reset()).shape == (40, len(FEATURES))
    ended = np.zeros(40, dtype=np.int64)
    for _ in range(12):
        observation, reward, done, infos = env.step(rng.integers(0, 3, (40, KNOBS)))
        assert isinstance(observation, np.ndarray)
        assert observation.dtype == np.float32
        assert (np.abs(observation) <= BOUND).all()
        assert np.isfinite(reward).all()
        assert done.sum() < 40
        ended += done
        for i in np.flatnonzero(done):
            assert infos[i]["TimeLimit.truncated"]
            assert infos[i]["terminal_observation"].shape == (len(FEATURES),)
    assert (ended == 2).all()


def test_the_same_seed_gives_the_same_games() -> None:
    first, second = TuningVecEnv(16, seed=5), TuningVecEnv(16, seed=5)
    rng = np.random.default_rng(1)
    for _ in range(30):
        actions = rng.integers(0, 3, (16, KNOBS))
        a, b = first.step(actions), second.step(actions)
        assert (np.asarray(a[0]) == np.asarray(b[0])).all()
        assert (a[1] == b[1]).all()


def game(n: int = 8) -> Game:
    rng = np.random.default_rng(7)
    ladder = draw_ladder(rng, n)
    return Game(draw_systems(rng, n), ladder, rng.integers(0, ladder.counts))


def test_the_reward_is_the_change_in_attainment_less_the_cost_of_changes() -> None:
    played = game()
    before, at = played.prediction.attainment, played.positions
    reward = played.step(np.tile([1, 0, -1, 0], (8, 1)))
    changed = (played.positions != at).sum(axis=1)
    np.testing.assert_allclose(reward, played.prediction.attainment - before - 0.02 * changed)


def test_a_move_off_the_ladder_does_nothing_and_costs_nothing() -> None:
    played = game()
    played.positions = played.ladder.counts - 1
    played.step(np.zeros((8, KNOBS), dtype=np.int64))
    assert (played.step(np.ones((8, KNOBS), dtype=np.int64)) == 0).all()
    assert (played.last_move == 0).all()


def test_random_ladders_rise() -> None:
    ladder = draw_ladder(np.random.default_rng(0), 200)
    for row in range(200):
        for knob in range(KNOBS):
            levels = ladder.levels[row, knob, : ladder.counts[row, knob]]
            assert (np.diff(levels) > 0).all()
    assert ladder.counts.min() == 1


def test_a_ladder_holds_each_knobs_own_levels() -> None:
    ladder = stack_levels([[[4, 8], [0, 5, 20], [64], [0, 1]]])
    assert ladder.counts.tolist() == [[2, 3, 1, 2]]
    table = ladder.schedules(np.array([[1, 2, 0, 1]]))
    assert table.max_num_seqs.tolist() == [8]
    assert table.batch_timeout_s.tolist() == [0.02]
    assert table.length_grouped.tolist() == [True]
