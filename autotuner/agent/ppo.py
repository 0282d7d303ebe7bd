"""Training with stable-baselines3's PPO on the vectorised tuning game."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from autotuner.agent.artifact import AgentArtifact, AgentCard, Tensors, describe
from autotuner.agent.deals import SystemSource
from autotuner.agent.environment import GameConfig, TuningVecEnv
from autotuner.agent.features import FEATURES
from autotuner.agent.policy import MovePolicy, Policy
from autotuner.agent.schedule import AGENT_KNOBS
from autotuner.agent.threads import one_thread
from autotuner.agent.validation import (
    WALK_STEPS,
    RandomMoves,
    Validation,
    validate,
)

__all__ = ["TrainConfig", "TrainProgress", "best_of", "describe", "train", "train_seeds"]

VALIDATION_SEED = 10_000  # no training deals these games
VALIDATION_GAMES = 512


@dataclass(frozen=True)
class TrainConfig:
    """How an agent is trained. `trained_on` is a date as text: this module reads no clock."""

    name: str = "ppo"
    steps: int = 2_000_000
    seed: int = 0
    trained_on: str = ""
    environments: int = 256
    rollout_steps: int = 24
    batch: int = 2048
    epochs: int = 6
    gamma: float = 0.9
    gae: float = 0.9
    entropy: float = 0.005
    learning_rate: float = 7e-4
    net: tuple[int, ...] = (128, 128)
    game: GameConfig = field(default_factory=GameConfig)


@dataclass(frozen=True)
class TrainProgress:
    """Where training stands. `objective` is the games' mean, 0..1, under the policy so far."""

    steps: int
    total_steps: int
    objective: float
    reward: float  # mean of a step in the last rollout
    seed: int = 0


ProgressCallback = Callable[[TrainProgress], None]


def train(
    config: TrainConfig,
    progress: ProgressCallback | None = None,
    start: AgentArtifact | None = None,
    systems: SystemSource | None = None,
) -> AgentArtifact:
    """Train from scratch, or go on from `start`'s weights. The same seed gives the same agent.

    `systems`: where the games' systems and ladders come from; random ones where there is none.

    One torch thread: the nets are so small that more threads only wait for each other.
    """
    with one_thread():
        env = TuningVecEnv(config.environments, config.seed, config.game, systems)
        model = _model(config, env)
        if start is not None:
            state = {name: torch.from_numpy(np.array(t)) for name, t in start.tensors.items()}
            model.policy.load_state_dict(state)
        model.learn(config.steps, callback=_Report(env, config, progress))
        state = model.policy.state_dict()
        tensors: Tensors = {name: t.detach().numpy().copy() for name, t in state.items()}
    card = AgentCard(
        name=config.name,
        features=FEATURES,
        knobs=AGENT_KNOBS,
        net=config.net if start is None else start.card.net,
        seed=config.seed,
        steps=int(model.num_timesteps),
        trained_on=config.trained_on,
        parent=None if start is None else start.card.name,
        versions={p: version(p) for p in ("stable-baselines3", "torch", "numpy", "gymnasium")},
    )
    return AgentArtifact(card, tensors)


def train_seeds(
    config: TrainConfig,
    seeds: int,
    progress: ProgressCallback | None = None,
    start: AgentArtifact | None = None,
    systems: SystemSource | None = None,
) -> AgentArtifact:
    """The best of `seeds` trainings, from `config.seed` on; its card tells every seed's score.

    All are judged on the same games, which no training deals.
    """
    agents = [
        train(replace(config, seed=seed), progress, start, systems)
        for seed in range(config.seed, config.seed + seeds)
    ]
    return best_of(agents, systems)


def best_of(agents: Sequence[AgentArtifact], systems: SystemSource | None = None) -> AgentArtifact:
    """The agent that gains most on the validation games; its card tells every agent's score."""

    def score(policy: MovePolicy) -> Validation:
        return validate(policy, VALIDATION_SEED, VALIDATION_GAMES, source=systems)

    scores = [score(Policy(agent)) for agent in agents]
    best = agents[max(range(len(agents)), key=lambda i: scores[i].gain)]
    told = {
        "metric": f"mean gain in the objective within {WALK_STEPS} moves of the analytic game",
        "games": VALIDATION_GAMES,
        "gain": {
            str(agent.card.seed): round(one.gain, 4)
            for agent, one in zip(agents, scores, strict=True)
        },
        "random": round(score(RandomMoves()).gain, 4),
    }
    return AgentArtifact(replace(best.card, validation=told), best.tensors)


def _model(config: TrainConfig, env: TuningVecEnv) -> PPO:
    def falling(remaining: float) -> float:
        """From the full rate to a tenth of it over the training."""
        return config.learning_rate * (0.1 + 0.9 * remaining)

    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=falling,
        n_steps=config.rollout_steps,
        batch_size=config.batch,
        n_epochs=config.epochs,
        gamma=config.gamma,
        gae_lambda=config.gae,
        ent_coef=config.entropy,
        policy_kwargs={"net_arch": list(config.net)},
        seed=config.seed,
        device="cpu",
    )
    # The default logger leaves a folder in the temporary directory at each training.
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


class _Report(BaseCallback):
    """Tells the caller after every rollout."""

    def __init__(
        self, env: TuningVecEnv, config: TrainConfig, progress: ProgressCallback | None
    ) -> None:
        super().__init__()
        self._env, self._progress = env, progress
        self._total, self._seed = config.steps, config.seed

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self._progress is None:
            return
        rewards = self.locals["rollout_buffer"].rewards
        objective = float(self._env.game.objective.mean())
        self._progress(
            TrainProgress(
                self.num_timesteps, self._total, objective, float(rewards.mean()), self._seed
            )
        )
