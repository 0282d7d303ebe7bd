"""Fits in a few processes that last: many series without a start of Python for each of them."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from autotuner.forecast.backtest import Tried
from autotuner.forecast.fit_job import COMMAND, FitRequest, from_answer
from autotuner.forecast.fits import Fitted, attempt
from autotuner.forecast.lasting import LastingChild


class FitPool:
    """At most `workers` processes, each started when it is first needed. For many threads.

    A process that fails to answer in time is killed, and the next request gets a new one.
    """

    def __init__(self, workers: int, command: Sequence[str] = COMMAND) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers}: give at least 1")
        self._command = command
        # A place without a process is one that is still to be started. Last in, first out: a
        # place that is not needed stays without a process.
        self._places: queue.LifoQueue[LastingChild | None] = queue.LifoQueue()
        for _ in range(workers):
            self._places.put(None)
        self._workers = workers

    def fit(self, request: FitRequest) -> Tried:
        """Waits for a free process; then as `fit_in_child`, its time limit and errors included."""
        child = self._places.get()
        try:
            child = child or LastingChild(self._command)
            answer = child.ask(request.as_json(), request.time_limit_s)
        except BaseException:
            if child is not None:
                child.close()
            self._places.put(None)
            raise
        self._places.put(child)
        return from_answer(answer)

    def fit_many(self, requests: Sequence[FitRequest]) -> Sequence[Fitted]:
        """What each request gave, in their order, or its error; as many at once as processes."""
        with ThreadPoolExecutor(self._workers) as threads:
            return list(threads.map(partial(attempt, self.fit), requests))

    def close(self) -> None:
        """Ends the processes; waits for fits under way."""
        for _ in range(self._workers):
            child = self._places.get()
            if child is not None:
                child.close()
        for _ in range(self._workers):
            self._places.put(None)
