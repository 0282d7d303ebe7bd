"""Runs probes on the live settings, one at a time, and one by itself after a change of weights."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from autotuner.fronts.errors import ApiError, invalid
from autotuner.worker.messages import ScoreOutput
from autotuner.worker.probe.golden import GoldenError
from autotuner.worker.probe.golden_source import GoldenSet
from autotuner.worker.probe.metrics import ProbeMetrics
from autotuner.worker.probe.result import (
    AnswerScore,
    NotFiniteError,
    ProbeResult,
    probe_result,
)
from autotuner.worker.probe.tokenise import GoldenAnswer
from autotuner.worker.settings import WorkerSettings

log = logging.getLogger(__name__)

ITEMS_BY_ITSELF = 16  # of a probe that nobody asked for: as many as are built in


class LiveModel(Protocol):
    """The model as it serves at this moment. Both raise ApiError 503 when it can't."""

    async def score(self, token_ids: list[int], first: int) -> ScoreOutput: ...

    async def greedy(self, prompt_token_ids: list[int], max_tokens: int) -> str:
        """The text of an answer that took the way of any request."""
        ...


class Golden(Protocol):
    """Golden sets, one after another; the one in force may still have to be made."""

    async def current(self) -> GoldenSet:
        """The set in force; raises GoldenError."""
        ...


class Probe:
    """`generation` tells the generation of the settings in force. Of one event loop."""

    def __init__(
        self,
        golden: Golden,
        model: LiveModel,
        generation: Callable[[], int],
        metrics: ProbeMetrics,
    ) -> None:
        self._golden, self._model, self._metrics = golden, model, metrics
        self._generation = generation
        self._one_at_a_time = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    async def run(self, items: int | None = None, first: int = 0) -> ProbeResult:
        """Scores `items` golden items from number `first` on, all by default; a second probe waits.

        Numbers count from 0 and go on at the first item after the last one. Raises ApiError: 400
        for more items than there are, 409 when the settings changed meanwhile, 500 for a model or
        a golden set that is broken, 503 when there is no engine.
        """
        if first < 0:
            raise invalid("first", first, "give a whole number from 0")
        return await self._probed(first, lambda of: of if items is None else _checked(items, of))

    def on_rebuilt(self, before: WorkerSettings, after: WorkerSettings) -> None:
        """To be told, on the event loop, when other settings come to serve.

        Other weights are probed in the background; nothing is done for other changes.
        """
        was, now = ((one.weights, one.weight_dtype) for one in (before, after))
        if was != now:
            task = asyncio.create_task(self._by_itself(" in ".join(now)))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """Ends what runs in the background."""
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probed(self, first: int, items: Callable[[int], int]) -> ProbeResult:
        """`items` tells how many to take of how many there are."""
        async with self._one_at_a_time:
            golden = await self._current()
            of = len(golden.answers)
            block = _block(golden.answers, first % of, items(of))
            result = replace(
                await self._measure(block),
                first=first % of,
                of=of,
                golden=golden.name,
                golden_problem=golden.problem,
            )
        self._metrics.set(result)
        return result

    async def _current(self) -> GoldenSet:
        try:
            return await self._golden.current()
        except GoldenError as error:
            raise ApiError(500, str(error), code="golden_set") from error

    async def _measure(self, answers: Sequence[GoldenAnswer]) -> ProbeResult:
        started, generation = time.monotonic(), self._generation()
        scores = [await self._score(answer, n) for n, answer in enumerate(answers, 1)]
        right = [await self._is_right(answer) for answer in answers if answer.expected]
        if self._generation() != generation:
            raise ApiError(
                409,
                f"generation {generation} ended while it was probed: probe again",
                code="settings_changed",
            )
        try:
            return probe_result(scores, right, time.monotonic() - started, generation)
        except NotFiniteError as error:
            raise ApiError(500, str(error), code="not_finite") from error

    async def _score(self, golden: GoldenAnswer, number: int) -> AnswerScore:
        scored = await self._model.score([*golden.prompt, *golden.answer], len(golden.prompt))
        if scored.error is not None:
            raise ApiError(503, f"golden item {number}: {scored.error}", code="not_scored")
        return AnswerScore(golden.answer, scored.most_likely, scored.log_probs, golden.log_probs)

    async def _is_right(self, golden: GoldenAnswer) -> bool:
        assert golden.expected is not None
        text = await self._model.greedy(list(golden.prompt), golden.max_tokens)
        return golden.expected.casefold() in text.casefold()

    async def _by_itself(self, weights: str) -> None:
        try:
            result = await self._probed(0, lambda of: min(of, ITEMS_BY_ITSELF))
        except ApiError as error:
            log.warning("no quality of weights %s: %s", weights, error.message)
        else:
            log.info("quality of weights %s: %s", weights, result)


def _checked(items: int, of: int) -> int:
    if not 1 <= items <= of:
        raise invalid("items", items, f"give 1 to {of}, or leave it out")
    return items


def _block(answers: Sequence[GoldenAnswer], first: int, items: int) -> Sequence[GoldenAnswer]:
    """`items` of them from the `first` on, beginning again after the last."""
    return [*answers[first:], *answers[:first]][:items]
