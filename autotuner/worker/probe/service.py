"""Runs probes on the live settings, one at a time, and one by itself after a change of weights."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from autotuner.fronts.errors import ApiError, invalid
from autotuner.worker.messages import ScoreOutput
from autotuner.worker.probe.golden import GoldenError
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


class LiveModel(Protocol):
    """The model as it serves at this moment. Both raise ApiError 503 when it can't."""

    async def score(self, token_ids: list[int], first: int) -> ScoreOutput: ...

    async def greedy(self, prompt_token_ids: list[int], max_tokens: int) -> str:
        """The text of an answer that took the way of any request."""
        ...


class Golden(Protocol):
    """A golden set that may still have to be made; its length is known before."""

    def __len__(self) -> int: ...

    async def answers(self) -> Sequence[GoldenAnswer]:
        """The set; raises GoldenError."""
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

    async def run(self, items: int | None = None) -> ProbeResult:
        """Scores the first `items` golden items, all by default; a second probe waits.

        Raises ApiError: 400 for more items than there are, 409 when the settings changed
        meanwhile, 500 for a model or a golden set that is broken, 503 when there is no engine.
        """
        if items is not None and not 1 <= items <= len(self._golden):
            raise invalid("items", items, f"give 1 to {len(self._golden)}, or leave it out")
        async with self._one_at_a_time:
            answers = (await self._answers())[:items]
            result = await self._measure(answers)
        self._metrics.set(result)
        return result

    def on_rebuilt(self, before: WorkerSettings, after: WorkerSettings) -> None:
        """To be told, on the event loop, when other settings come to serve.

        Other weights are probed in the background; nothing is done for other changes.
        """
        if before.weight_dtype != after.weight_dtype:
            task = asyncio.create_task(self._by_itself(after.weight_dtype))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """Ends what runs in the background."""
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answers(self) -> Sequence[GoldenAnswer]:
        try:
            return await self._golden.answers()
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

    async def _by_itself(self, weight_dtype: str) -> None:
        try:
            result = await self.run()
        except ApiError as error:
            log.warning("no quality of %s weights: %s", weight_dtype, error.message)
        else:
            log.info("quality of %s weights: %s", weight_dtype, result)
