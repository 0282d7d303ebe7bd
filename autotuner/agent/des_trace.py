"""The steps of many environments: how they are written down, and what they were made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.stepmodel import Floats, Ints

_ROOM_STEPS = 1024  # to begin with


@dataclass(frozen=True)
class Trace:
    """What the steps were made of: arrays [step, environment]; 0 tokens where none ran.

    `running` is how many ran when the step had ended.
    """

    step_s: Floats
    end_s: Floats
    decode_seqs: Ints
    prefill_tokens: Ints
    context_tokens: Ints
    running: Ints


class StepBook:
    """Each environment's steps so far; how many those are, its owner knows."""

    def __init__(self, rows: int, made_of: bool) -> None:
        """`made_of`: also what a Trace holds beside the times."""
        self._rows, self._room = rows, _ROOM_STEPS
        self._times = np.zeros((2, rows, self._room))
        self._counts = np.zeros((4 if made_of else 0, rows, self._room), np.int64)

    def write(self, rows: Ints, begin: Ints, times: list[Floats], counts: list[Ints]) -> None:
        """Steps of the rows from their `begin` on, each column [row, step].

        What lies beyond the steps that a row has really taken is written over by its next ones.
        """
        steps = times[0].shape[1]
        self._make_room(int(begin.max()) + steps)
        places = (rows * self._room + begin)[:, None] + np.arange(steps)
        for column, values in zip(self._times, times, strict=True):
            column.reshape(-1)[places] = values
        for kept, numbers in zip(self._counts, counts, strict=len(self._counts) > 0):
            kept.reshape(-1)[places] = numbers

    def write_idle(self, rows: Ints, at: Ints, clock: Floats) -> None:
        """A step in which nothing ran, until `clock`."""
        self._make_room(int(at.max()) + 1)
        self._times[0, rows, at] = 0.0
        self._times[1, rows, at] = clock
        self._counts[:, rows, at] = 0

    def times(self) -> tuple[Floats, Floats]:
        """Lengths and ends of the steps, [step, environment]."""
        return self._times[0].T, self._times[1].T

    def trace(self, steps: Ints, clock: Floats) -> Trace:
        """Of environments that took so many steps and stand at `clock`."""
        most = int(steps.max(initial=0))
        ran = np.arange(most)[:, None] < steps
        step_s, end_s = (column.T[:most] for column in self._times)
        counts = [np.where(ran, column.T[:most], 0) for column in self._counts]
        return Trace(np.where(ran, step_s, 0.0), np.where(ran, end_s, clock), *counts)

    def _make_room(self, steps: int) -> None:
        if steps <= self._room:
            return
        more = max(steps, 2 * self._room) - self._room
        self._room += more
        wider = ((0, 0), (0, 0), (0, more))
        self._times, self._counts = np.pad(self._times, wider), np.pad(self._counts, wider)
