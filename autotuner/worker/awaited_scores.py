"""Texts that engines score for callers who wait for the outcome."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from typing import Protocol

from autotuner.fronts.errors import ApiError, engine_gone
from autotuner.worker.messages import ScoreOutput, ScoreRequest


class Scorers(Protocol):
    """The engines that score."""

    def score(self, request: ScoreRequest) -> None: ...

    def forget(self, request_id: str) -> None: ...


class AwaitedScores:
    """Must be used from one event loop."""

    def __init__(self, engines: Scorers) -> None:
        self._engines = engines
        self._waiting: dict[str, asyncio.Future[ScoreOutput]] = {}

    async def ask(self, token_ids: list[int], first: int, timeout_s: float) -> ScoreOutput:
        """The engine's word on the text; one that can't be scored has its `error` set.

        Raises ApiError 503 when the engine is lost, 504 after `timeout_s`.
        """
        request = ScoreRequest(f"score-{uuid.uuid4().hex}", token_ids, first)
        outcome: asyncio.Future[ScoreOutput] = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = outcome
        self._engines.score(request)
        try:
            async with asyncio.timeout(timeout_s):
                return await outcome
        except TimeoutError:
            raise ApiError(504, f"not scored within {timeout_s:g} s", code="timeout") from None
        finally:
            del self._waiting[request.request_id]
            self._engines.forget(request.request_id)

    def on_score(self, output: ScoreOutput) -> None:
        outcome = self._waiting.get(output.request_id)
        if outcome is not None and not outcome.done():
            outcome.set_result(output)

    def on_lost(self, request_ids: Iterable[str], reason: str) -> None:
        for request_id in request_ids:
            outcome = self._waiting.get(request_id)
            if outcome is not None and not outcome.done():
                outcome.set_exception(engine_gone(reason))

    def on_all_lost(self, reason: str) -> None:
        self.on_lost(list(self._waiting), reason)
