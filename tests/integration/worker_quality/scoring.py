"""An engine in this process as the model that a probe asks."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from autotuner.worker.dtypes import activation_dtype
from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.executor import LocalExecutor
from autotuner.worker.kv import KVCache
from autotuner.worker.messages import AddRequest, SamplingParams, ScoreOutput, ScoreRequest
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.model_part import kv_blocks, model_len
from autotuner.worker.models.load import load_decoder, plain_factory
from autotuner.worker.models.parts import LinearFactory
from autotuner.worker.ops.choose import ops_for
from autotuner.worker.quantise_factory import int8_factory
from autotuner.worker.settings import WeightDtype, WorkerSettings

CPU = torch.device("cpu")


def make_engine(
    model: Path, weight_dtype: WeightDtype, linears: LinearFactory | None = None
) -> Engine:
    """`linears` overrides the layers that the weight dtype asks for."""
    torch.set_num_threads(1)
    settings = WorkerSettings(weight_dtype=weight_dtype)
    options = EngineOptions(model, kv_cache_gib=0.25, max_ranks=1, settings=settings)
    dtype = activation_dtype(weight_dtype, CPU)
    linears = linears or (int8_factory(model) if weight_dtype == "int8" else plain_factory)
    ops, config = ops_for(CPU, 1), ModelConfig.from_folder(model)
    decoder = load_decoder(model, dtype, CPU, model_len(options, config), ops, linears=linears)
    cache = KVCache(decoder.kv_shape, kv_blocks(options, config, CPU), dtype, CPU)
    return Engine(options, LocalExecutor(decoder, cache))


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
