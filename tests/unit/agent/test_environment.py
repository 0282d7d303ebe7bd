from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from autotuner.agent.environment import GameConfig, TuningEnv, TuningVecEnv
from autotuner.agent.features import BOUND, FEATURES
from autotuner.agent.ladder import KNOBS, Ladder
from autotuner.agent.random_ladders import draw_ladder
from autotuner.agent.systems import Systems, draw_systems
from autotuner.agent.validation import steps_per_second


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


def test_games_begin_from_the_source_that_is_given() -> None:
    asked = []

    def source(rng: np.random.Generator, n: int) -> tuple[Systems, Ladder]:
        asked.append(n)
        systems = draw_systems(rng, n)
        return systems, draw_ladder(rng, systems.machines)

    env = TuningVecEnv(4, 0, GameConfig(episode_steps=2), source)
    for _ in range(3):
        env.step(np.ones((4, KNOBS), dtype=np.int64))
    assert asked[0] == 4
    assert len(asked) == 2


def test_the_vectorised_environment_keeps_its_contract() -> None:
    env = TuningVecEnv(3, seed=0)
    assert env.action_space.shape == (KNOBS,)
    assert env.observation_space.shape == (len(FEATURES),)
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    assert env.get_attr("render_mode", indices=[0, 2]) == [None, None]
    with pytest.raises(NotImplementedError, match="anything"):
        env.env_method("anything")
    observation, reward, done, infos = env.step(np.ones((3, KNOBS), dtype=np.int64))
    assert np.asarray(observation).shape == (3, len(FEATURES))
    assert reward.shape == done.shape == (3,)
    assert len(infos) == 3
    env.close()


def test_the_speed_is_told() -> None:
    assert steps_per_second(0.0, environments=8) > 0
