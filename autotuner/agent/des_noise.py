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


class Factors:
    """What noise multiplies step times by; rows of one group and one spread have the same."""

    def __init__(self, noise: Noise, cv: Floats) -> None:
        """`cv` [environment]: the coefficients of variation."""
        pairs = np.stack([noise.groups.astype(np.float64), cv])
        distinct, self._line = np.unique(pairs, axis=1, return_inverse=True)
        self._groups, self._cv = distinct[0].astype(np.int64), distinct[1][:, None]
        self._noise, self._blocks = noise, 0
        self._table = np.zeros((len(self._groups), 0))

    def at(self, rows: Ints, steps: Ints) -> Floats:
        """Of the rows at their `steps` [row, step]."""
        while self._table.shape[1] <= int(steps.max(initial=0)):
            self._grow()
        lines = self._line[rows] * self._table.shape[1]
        return self._table.take(lines[:, None] + steps)

    def _grow(self) -> None:
        """Twice as many steps as before: the table is copied a few times only."""
        known, self._blocks = self._blocks, max(2 * self._blocks, 1)
        blocks = [self._noise.block(i) for i in range(known, self._blocks)]
        normals = np.concatenate(blocks)[:, self._groups].T
        factors = np.exp(self._cv * normals - self._cv * self._cv / 2)
        self._table = np.hstack([self._table, factors])
