"""Simple proposers under the agent's interface: what it must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.candidates import Admissible
from autotuner.agent.ladder import KNOBS
from autotuner.agent.proposer import ModelProposer
from autotuner.agent.stepmodel import Ints
from autotuner.domain.errors import AutotunerError
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import Proposal, ProposalContext

_DRAWS = 200


class RandomProposer:
    """Any admissible settings within reach of the incumbent, all alike."""

    def propose(self, context: ProposalContext) -> Proposal | None:
        rng = np.random.default_rng(abs(int(context.seed)))
        admissible = Admissible(context)
        for _ in range(_DRAWS):
            drawn = context.space.at(tuple(int(rng.integers(len(k.levels))) for k in context.space))
            try:
                settings = context.space.clip_step(context.incumbent, drawn)
            except (AutotunerError, KeyError):
                return None
            if admissible(settings):
                return Proposal(settings, "random", "drawn at random within reach")
        return None


class HillClimbProposer:
    """One knob, one level: an untried neighbour of the incumbent, in random order."""

    def propose(self, context: ProposalContext) -> Proposal | None:
        try:
            neighbours = _neighbours(context)
        except (AutotunerError, KeyError):
            return None
        admissible = Admissible(context)
        open_ones = [settings for settings in neighbours if admissible(settings)]
        if not open_ones:
            return None
        rng = np.random.default_rng(abs(int(context.seed)))
        settings = open_ones[int(rng.integers(len(open_ones)))]
        return Proposal(settings, "hill-climb", "a neighbour of the incumbent not tried yet")


def _neighbours(context: ProposalContext) -> list[Settings]:
    at = context.space.indices(context.incumbent)
    return [
        context.incumbent.with_values(**{knob.name: knob.levels[index]})
        for knob, place in zip(context.space, at, strict=True)
        for index in (place - 1, place + 1)
        if 0 <= index < len(knob.levels)
    ]


class _UniformPolicy:
    """Moves at random: what the model and the screening achieve without a trained policy."""

    def sample(self, observation: NDArray[np.float32], rng: np.random.Generator) -> Ints:
        return rng.integers(-1, 2, (len(observation), KNOBS))


def screened_random(screen: bool = True, min_gain: float = 0.02) -> ModelProposer:
    """The agent's machinery with random walks in place of the policy: the agent's ablation."""
    return ModelProposer(_UniformPolicy(), "screened-random", screen=screen, min_gain=min_gain)
