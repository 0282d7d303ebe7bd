"""The engine of the fake server: continuous batching whose step takes longer the more is in it.

Pure asyncio: it knows no HTTP and no flags.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

# Chosen: 16 requests in a step cost 8 ms, so that a batch of 2 carries a quarter of their tokens.
BASE_STEP_S = 0.004
DECODE_S = 0.00025
PREFILL_S = 0.00002
MAX_STEP_SLEEPS = 0.25


@dataclass
class Running:
    """One request: `tokens` has the time of each token, None ends it."""

    prompt_tokens: int
    max_tokens: int
    arrived_at: float = field(default_factory=time.monotonic)
    admitted_at: float | None = None
    left_to_prefill: int = 0
    produced: int = 0
    tokens: asyncio.Queue[float | None] = field(default_factory=asyncio.Queue)
    gone: bool = False
    seen_at: float | None = None  # when the server passed on the last token


@dataclass
class FakeEngine:
    """`max_seqs` requests at once, `budget` tokens a step, of which decoding takes its part first.

    `slower` stretches every step.
    """

    max_seqs: int
    budget: int
    slower: float = 1.0
    running: list[Running] = field(default_factory=list)
    waiting: deque[Running] = field(default_factory=deque)
    steps: int = 0
    _work: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, prompt_tokens: int, max_tokens: int) -> Running:
        request = Running(prompt_tokens, max_tokens, left_to_prefill=prompt_tokens)
        self.waiting.append(request)
        self._work.set()
        return request

    async def run(self) -> None:
        """Steps for ever; without work it waits for some."""
        while True:
            if not self.running and not self.waiting:
                self._work.clear()
                await self._work.wait()
            await self._step()

    async def _step(self) -> None:
        self._drop_gone()
        self._admit()
        decoding = [one for one in self.running if one.left_to_prefill == 0]
        prefilled = self._prefill(self.budget - len(decoding))
        took = BASE_STEP_S + DECODE_S * len(decoding) + PREFILL_S * prefilled
        await asyncio.sleep(min(MAX_STEP_SLEEPS, self.slower * took))
        self.steps += 1
        now = time.monotonic()
        for request in self.running:
            if request.left_to_prefill == 0:
                request.produced += 1
                request.tokens.put_nowait(now)
                if request.produced >= request.max_tokens:
                    request.tokens.put_nowait(None)
        self.running = [one for one in self.running if one.produced < one.max_tokens]

    def _drop_gone(self) -> None:
        self.running = [one for one in self.running if not one.gone]
        self.waiting = deque(one for one in self.waiting if not one.gone)

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self.max_seqs:
            request = self.waiting.popleft()
            request.admitted_at = time.monotonic()
            self.running.append(request)

    def _prefill(self, budget: int) -> int:
        """The prompt tokens computed in this step, in the order of arrival."""
        left = max(budget, 1)
        for request in self.running:
            part = min(left, request.left_to_prefill)
            request.left_to_prefill -= part
            left -= part
        return max(budget, 1) - left
