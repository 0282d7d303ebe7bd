"""The noise of step times, shared by the rows of one simulation: common random numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autotuner.agent.stepmodel import Floats, Ints

BLOCK_STEPS = 256


class Noise:
    """Standard normal draws by step and group; `groups` [environment] names each row's group."""

    def __init__(self, groups: Ints, seed: int) -> None:
        self.groups, self._seed = groups, seed
        self._rng = np.random.default_rng(seed)
        self._blocks: list[Floats] = []

    def block(self, index: int) -> Floats:
        """The draws of BLOCK_STEPS steps: [step, group]."""
        while len(self._blocks) <= index:
            width = int(self.groups.max(initial=0)) + 1
            self._blocks.append(self._rng.standard_normal((BLOCK_STEPS, width)))
        return self._blocks[index]

    def normals(self, row: int, replica: int) -> Callable[[], Floats]:
        """For an engine: each call gives a block's draws, the first one last.

        The first replica has those that the row has as a vector's element, the others their own.
        """
        group = int(self.groups[row])
        if replica:
            rng = np.random.default_rng((self._seed, group, replica))
            return lambda: rng.standard_normal(BLOCK_STEPS)
        blocks = iter(range(1 << 30))
        return lambda: self.block(next(blocks))[::-1, group]
