"""One environment's queues under length grouping, where a request may overtake others.

The cursors over the arrivals can't tell who is served then: lists of requests do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from autotuner.agent.des_context import windowed_pairs
from autotuner.agent.schedule import AGEING_S, priority
from autotuner.agent.stepmodel import Floats, Ints

_SOONER_S = 1e-9  # a time that is looked ahead to may come out a rounding error too late


class Chunks(NamedTuple):
    """What a step computed of prompts: tokens, KV read, pairs, and whose prompt is done."""

    tokens: int
    context: int
    pairs: int
    complete: list[int]


class GroupedQueues:
    """Who waits, in the order of arrival, and who is prefilling, in the order of admission.

    Between steps, `head` is whose prompt goes on, None where nobody's does, and stays first until
    `head_until_s`.
    """

    def __init__(self, arrival_s: Floats, prompt: Ints, cached: Ints, window: int) -> None:
        self._arrival_s: list[float] = arrival_s.tolist()
        self._prompt: list[int] = prompt.tolist()
        self._cached: list[int] = cached.tolist()
        self._window = window
        self.waiting: list[int] = []
        self.prefilling: dict[int, int] = {}  # tokens done
        self.head: int | None = None
        self.head_until_s = np.inf

    def begin(self, head: int, admitted: int, seen: int, head_done: int) -> None:
        """From `head` on the admitted ones, one at most, are prefilling; the others seen wait."""
        done = {r: max(head_done, self._cached[r]) for r in range(head, admitted)}
        self.waiting, self.prefilling = list(range(admitted, seen)), done

    def admit(self, taken: int, now: float) -> list[int]:
        """Lets the first `taken` of those who wait in; who they are."""
        first = self._in_order(self.waiting, now)[:taken]
        if taken == len(self.waiting):
            self.waiting = []
        else:
            self.waiting = [request for request in self.waiting if request not in first]
        self.prefilling.update((r, self._cached[r]) for r in first)
        return first

    def prefill(self, budget: int, now: float) -> Chunks:
        """Spends the tokens that a step has for prompts."""
        order = self._in_order(self.prefilling, now)
        tokens = context = pairs = 0
        complete: list[int] = []
        for request in order:
            begin, prompt = self.prefilling[request], self._prompt[request]
            end = min(begin + budget - tokens, prompt)
            if end <= begin:
                break
            tokens += end - begin
            context += min(end, end - begin - 1 + self._window)
            pairs += windowed_pairs(end, self._window) - windowed_pairs(begin, self._window)
            if end < prompt:
                self.prefilling[request] = end
                break
            complete.append(request)
        for request in complete:
            del self.prefilling[request]
        self._look_ahead(order[len(complete) :], now)
        return Chunks(tokens, context, pairs, complete)

    def end_head(self) -> None:
        """The prompt that goes on is done."""
        if self.head is not None:
            del self.prefilling[self.head]
            self.head = None

    def _look_ahead(self, left: list[int], now: float) -> None:
        self.head, self.head_until_s = (left[0] if left else None), np.inf
        if len(left) > 1:
            young = (a for r in left if not now - (a := self._arrival_s[r]) > AGEING_S)
            self.head_until_s = min(young, default=np.inf) + AGEING_S - _SOONER_S

    def _in_order(self, requests: Iterable[int], now: float) -> list[int]:
        found = list(requests)
        if len(found) > 1:
            prompt, arrival_s = self._prompt, self._arrival_s
            found.sort(key=lambda r: priority(prompt[r], now - arrival_s[r]))
        return found
