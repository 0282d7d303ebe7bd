"""Replicas of an engine side by side, and which of them serves a request.

As the bundled worker deals: the fewest tokens in flight (prompt and answer), equals take turns.
Its preference for the replica that knows a prompt's prefix is left out.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from autotuner.agent.des_engine import Engine
from autotuner.agent.des_request import Ended, Request
from autotuner.agent.schedule import Schedule
from autotuner.agent.serving import Serving
from autotuner.domain.telemetry import Outcome


class Fleet:
    """Engines that share the requests; one that finds `max_waiting` others waiting is refused."""

    def __init__(self, engines: Sequence[Engine], max_waiting: float) -> None:
        self.engines, self.max_waiting = list(engines), max_waiting
        self._ended: list[Ended] = []
        self._in_flight = [0] * len(self.engines)  # tokens
        self._last_turn = [0] * len(self.engines)
        self._turn = 0
        self._places: dict[int, int] = {}  # request number to engine
        self._freeing: list[
            tuple[float, int, int, int]
        ] = []  # a heap: when, number, engine, tokens

    @property
    def waiting(self) -> int:
        return sum(len(engine.waiting) for engine in self.engines)

    @property
    def running(self) -> int:
        return sum(len(engine.running) for engine in self.engines)

    def configure(self, serving: Serving, schedule: Schedule) -> None:
        """Other settings from the next step on."""
        for engine in self.engines:
            engine.configure(serving, schedule)

    def run(self, until_s: float) -> None:
        """Plays all steps that begin before `until_s`."""
        for engine in self.engines:
            if engine.clock < until_s:
                engine.run(until_s)

    def submit(self, request: Request) -> None:
        """Takes a request that arrives now, when all before it has been played."""
        if self.waiting >= self.max_waiting:
            request.ended = True
            self._ended.append(Ended(request.arrival_s, request, Outcome.REJECTED, 0.0))
        elif len(self.engines) == 1:
            self.engines[0].submit(request)
        else:
            self._deal(request)

    def take_ended(self) -> list[Ended]:
        """The requests that ended since the last call, in no order."""
        self._book_ends()
        ended, self._ended = self._ended, []
        return ended

    def _deal(self, request: Request) -> None:
        self._book_ends()
        while self._freeing and self._freeing[0][0] <= request.arrival_s:
            _, _, place, tokens = heapq.heappop(self._freeing)
            self._in_flight[place] -= tokens
        places = range(len(self.engines))
        place = min(places, key=lambda i: (self._in_flight[i], self._last_turn[i]))
        self._turn += 1
        self._last_turn[place] = self._turn
        self._in_flight[place] += request.total_tokens
        self._places[request.number] = place
        self.engines[place].submit(request)

    def _book_ends(self) -> None:
        """A step ends after it was played: what it frees counts from its end on."""
        for engine in self.engines:
            for ended in engine.ended:
                number, tokens = ended.request.number, ended.request.total_tokens
                place = self._places.pop(number, None)
                if place is not None:
                    heapq.heappush(self._freeing, (ended.at_s, number, place, tokens))
            self._ended += engine.ended
            engine.ended.clear()
