"""The tuning game as environments: a vectorised one for training and a single gymnasium one.

A state is a served system with its settings and goal; an action moves each knob a level down, not
at all, or up; the reward is the change of the objective less what the changes cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from autotuner.agent.deals import SystemSource
from autotuner.agent.features import BOUND, FEATURES
from autotuner.agent.game import Game, Rules
from autotuner.agent.ladder import KNOBS


@dataclass(frozen=True)
class GameConfig:
    """A game's length and rules: noisy and with a load that drifts, as a live target's is."""

    episode_steps: int = 24
    rules: Rules = field(default_factory=lambda: Rules(noise=0.02, drift=1 / 12))


def _spaces() -> tuple[gymnasium.spaces.Box, gymnasium.spaces.MultiDiscrete]:
    low = np.full(len(FEATURES), -BOUND, dtype=np.float32)
    return gymnasium.spaces.Box(low, -low), gymnasium.spaces.MultiDiscrete([3] * KNOBS)


class TuningVecEnv(VecEnv):
    """`n` games in one set of arrays; a game that ends starts anew with another system."""

    render_mode = None

    def __init__(
        self,
        n: int,
        seed: int,
        config: GameConfig = GameConfig(),
        source: SystemSource | None = None,
    ) -> None:
        super().__init__(n, *_spaces())
        self.config = config
        self._rng = np.random.default_rng(seed)
        self._actions: NDArray[np.int64] = np.ones((n, KNOBS), dtype=np.int64)
        self.game = Game.random(self._rng, n, config.rules, source)
        # Games begin at different ages, so that they do not all end in the same step.
        self._age = self._rng.integers(0, config.episode_steps, n)

    def reset(self) -> VecEnvObs:
        return self.game.observation()

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = np.asarray(actions, dtype=np.int64)

    def step_wait(self) -> VecEnvStepReturn:
        reward = self.game.step(self._actions - 1)
        self._age += 1
        done = self._age >= self.config.episode_steps
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        observation = self.game.observation()
        over = np.flatnonzero(done)
        if len(over):
            for i in over:
                infos[i] = {
                    "terminal_observation": observation[i].copy(),
                    "TimeLimit.truncated": True,
                }
            self.game.restart(over)
            self._age[over] = 0
            observation = self.game.observation()
        return observation, reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        del indices  # the games share their attributes
        setattr(self, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        raise NotImplementedError(f"{method_name}: the games share one object and have no methods")

    def env_is_wrapped(
        self,
        wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        del wrapper_class
        return [False] * len(self._rows(indices))

    def _rows(self, indices: VecEnvIndices) -> Sequence[int]:
        return list(self._get_indices(indices))


class TuningEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.int64]]):
    """One game under gymnasium's interface; each reset draws another system."""

    def __init__(self, config: GameConfig = GameConfig()) -> None:
        self.config = config
        box, self.action_space = _spaces()
        self.observation_space = cast(gymnasium.Space[NDArray[np.float32]], box)
        self._game: Game | None = None
        self._age = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._game = Game.random(self.np_random, 1, self.config.rules)
        self._age = 0
        return self._game.observation()[0], {}

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Raises gymnasium's ResetNeeded before the first reset."""
        if self._game is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        reward = self._game.step(np.asarray(action, dtype=np.int64)[None] - 1)
        self._age += 1
        truncated = self._age >= self.config.episode_steps
        return self._game.observation()[0], float(reward[0]), False, truncated, {}
