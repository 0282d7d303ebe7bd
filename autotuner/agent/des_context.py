"""What decoding reads: the context of each sequence, no more than the attention window of it."""

from __future__ import annotations

import heapq
import math

from autotuner.agent.des_request import Request

_ALL_TOKENS = 1 << 60


def window_tokens(window: float) -> int:
    """The window as a whole number that any context fits in where there is no limit."""
    return _ALL_TOKENS if math.isinf(window) else max(1, int(window))


def windowed_pairs(tokens: int, window: int) -> int:
    """Pairs of a token and one that it attends to, of a text whose tokens see `window` each."""
    growing = min(tokens, window)
    return growing * (growing + 1) // 2 + (tokens - growing) * window


class ContextReads:
    """`total` tokens are read by the next step and `growing` more by each after it.

    A sequence's part grows by one a step until its window is full; `full` are those to whom that
    will happen.
    """

    def __init__(self, window: float) -> None:
        self.window = window_tokens(window)
        self.total = self.growing = 0
        self.full: list[tuple[int, int, Request]] = []  # a heap by the step that does

    def add(self, request: Request, tokens: int, step: int) -> None:
        """A sequence of so many tokens after `step` decodes until its `end_step`."""
        self.total += min(tokens, self.window)
        request.growing = tokens < self.window
        self.growing += request.growing
        full_step = step + self.window - tokens
        if request.growing and full_step < request.end_step:
            heapq.heappush(self.full, (full_step, request.number, request))

    def remove(self, request: Request, tokens: int) -> None:
        """It decodes no more, and had so many tokens."""
        self.total -= min(tokens, self.window)
        if request.growing:
            self.growing -= 1
            request.growing = False
            if self.full:
                self.full = [entry for entry in self.full if entry[2] is not request]
                heapq.heapify(self.full)

    def steps_alike(self, step: int) -> float:
        """Steps from `step` on until fewer grow, inf for as long as all decode."""
        return self.full[0][0] - step if self.full else math.inf

    def end_step(self, step: int) -> None:
        """`step` has ended: whose windows it filled grow no more."""
        while self.full and self.full[0][0] <= step:
            heapq.heappop(self.full)[2].growing = False
            self.growing -= 1
