"""What is due at a future step, row by row: a ring of slots whose numbers are taken out once."""

from __future__ import annotations

import numpy as np

from autotuner.agent.stepmodel import Ints


class Calendar:
    """Whole numbers by kind, row and step; each row stands at a step of its own."""

    def __init__(self, kinds: int, rows: int, ahead: int) -> None:
        """`ahead`: no entry is made, and none looked up, further than this from where a row is."""
        self._size = 1 << int(ahead).bit_length()
        self._slots = np.zeros((kinds, rows * self._size), np.int64)

    def add(self, kind: int, rows: Ints, steps: Ints, values: Ints) -> None:
        """Adds `values` at `steps` of `rows`, each row at most once."""
        self._slots[kind, rows * self._size + (steps & (self._size - 1))] += values

    def places(self, rows: Ints, begin: Ints, steps: int) -> Ints:
        """Where the next `steps` of the rows are kept from `begin` on, [row, step]."""
        offsets = (begin[:, None] + np.arange(steps)) & (self._size - 1)
        found: Ints = offsets + (rows * self._size)[:, None]
        return found

    def due(self, places: Ints) -> Ints:
        """What is due there, [kind, row, step]."""
        return self._slots.take(places, axis=1)

    def clear(self, places: Ints) -> None:
        """These steps are over."""
        self._slots[:, places] = 0
