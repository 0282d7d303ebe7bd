"""An engine in this process as the model that a probe asks."""

from __future__ import annotations

import time
from pathlib import Path

from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import AddRequest, SamplingParams, ScoreOutput, ScoreRequest
from autotuner.worker.settings import WeightDtype, WorkerSettings


def make_engine(model: Path, weight_dtype: WeightDtype) -> Engine:
    settings = WorkerSettings(weight_dtype=weight_dtype)
    return Engine(EngineOptions(model, kv_cache_gib=0.25, max_ranks=1, settings=settings))


class EngineModel:
    """A `service.LiveModel`; the text of an answer is its token ids."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def score(self, token_ids: list[int], first: int) -> ScoreOutput:
        refused = self._engine.score(ScoreRequest("score", token_ids, first))
        if refused is not None:
            return refused
        scored: list[ScoreOutput] = []
        while not scored:
            self._engine.step()
            scored += self._engine.scored()
        return scored[0]

    async def greedy(self, prompt_token_ids: list[int], max_tokens: int) -> str:
        sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0)
        self._engine.add(AddRequest("greedy", prompt_token_ids, sampling, time.time()))
        drawn: list[int | None] = []
        while self._engine.wait_s() == 0.0:
            drawn += [output.token_id for output in self._engine.step().tokens]
        return " ".join(map(str, drawn))
