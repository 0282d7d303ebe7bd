"""How well a policy plays games that training never dealt, beside random moves; and how fast.

Quick (a second or so) and in the analytic model: it tells seeds of one training apart. `evaluation`
tells how good an agent is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.deals import SystemSource
from autotuner.agent.environment import TuningVecEnv
from autotuner.agent.game import Game
from autotuner.agent.ladder import KNOBS
from autotuner.agent.policy import MovePolicy
from autotuner.agent.stepmodel import Floats, Ints

WALK_STEPS = 8  # as long as a proposer walks


class RandomMoves:
    """Moves without a thought: what a policy has to beat."""

    def sample(self, observation: NDArray[np.float32], rng: np.random.Generator) -> Ints:
        return rng.integers(-1, 2, (len(observation), KNOBS))


@dataclass(frozen=True)
class Validation:
    """Means over the games. `gain`: the best objective that a walk met less the one it began at.
    `reward`: what a game's moves earned in all, costs taken off.
    """

    gain: float
    reward: float


def validate(
    policy: MovePolicy,
    seed: int,
    games: int = 512,
    steps: int = WALK_STEPS,
    source: SystemSource | None = None,
) -> Validation:
    """Play `games` games of `steps` moves. The same seed deals the same games to every policy."""
    game = Game.random(np.random.default_rng(seed), games, source=source)
    rng = np.random.default_rng(seed + 1)
    before = best = game.objective
    earned: Floats = np.zeros(games)
    for _ in range(steps):
        earned = earned + game.step(policy.sample(game.observation(), rng))
        best = np.maximum(best, game.objective)
    return Validation(float((best - before).mean()), float(earned.mean()))


def steps_per_second(seconds: float, environments: int = 256) -> float:
    """Environment steps of the game per second of this process's CPU time, without any learning."""
    env = TuningVecEnv(environments, seed=0)
    actions = np.random.default_rng(0).integers(0, 3, (16, environments, KNOBS))
    env.step(actions[0])
    begin, end, done = time.process_time(), time.monotonic() + seconds, 0
    while done == 0 or time.monotonic() < end:
        env.step(actions[done % len(actions)])
        done += 1
    return done * environments / (time.process_time() - begin)
