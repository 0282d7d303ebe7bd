"""The trained policy's forward pass. Plain numpy: proposing needs no torch in the daemon."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.artifact import MOVES, AgentArtifact
from autotuner.agent.stepmodel import Floats, Ints


class MovePolicy(Protocol):
    """Maps observations [environment, feature] to moves [environment, knob] in −1, 0, 1."""

    def sample(self, observation: NDArray[np.float32], rng: np.random.Generator) -> Ints: ...


class Policy:
    """Maps observations to moves of −1, 0 or 1 per knob."""

    def __init__(self, artifact: AgentArtifact) -> None:
        tensors, depth = artifact.tensors, len(artifact.card.net)
        names = [f"mlp_extractor.policy_net.{2 * i}" for i in range(depth)] + ["action_net"]
        self._layers = [(tensors[f"{n}.weight"].T, tensors[f"{n}.bias"]) for n in names]
        self._knobs = len(artifact.card.knobs)

    def probabilities(self, observation: NDArray[np.float32]) -> Floats:
        """P(down, stay, up): [environment, knob, 3] from [environment, feature]."""
        hidden = observation
        for weight, bias in self._layers[:-1]:
            hidden = np.tanh(hidden @ weight + bias)
        weight, bias = self._layers[-1]
        logits = (hidden @ weight + bias).reshape(-1, self._knobs, MOVES).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        shares: Floats = odds / odds.sum(axis=2, keepdims=True)
        return shares

    def sample(self, observation: NDArray[np.float32], rng: np.random.Generator) -> Ints:
        """Random moves [environment, knob] as probable as the policy thinks them good."""
        below = np.cumsum(self.probabilities(observation), axis=2)[:, :, :-1]
        drawn = rng.random((*below.shape[:2], 1))
        moves: Ints = (drawn > below).sum(axis=2).astype(np.int64) - 1
        return moves

    def best(self, observation: NDArray[np.float32]) -> Ints:
        """The most probable move per knob."""
        moves: Ints = self.probabilities(observation).argmax(axis=2).astype(np.int64) - 1
        return moves
