"""The worker's engine as it serves, without HTTP: continuous batching, chunked prefill."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import cast

from autotuner.worker.allocator import keep_freed_memory
from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import AddRequest, SamplingParams
from autotuner.worker.settings import WeightDtype, WorkerSettings
from experiments.studies.worker_throughput.jobs import Job, Loaded, TokenTimes


def load(model: Path, dtype: str) -> Loaded:
    """The default settings; no prefix is cached, as the same prompts come in every run."""
    keep_freed_memory()  # as the worker does
    settings = WorkerSettings(weight_dtype=cast(WeightDtype, dtype))
    engine = Engine(EngineOptions(model, prefix_caching=False, settings=settings))

    def generate(job: Job) -> TokenTimes:
        return _generate(engine, job)

    packages = ("autotuner", "torch")
    return Loaded(generate, {name: version(name) for name in packages})


def _generate(engine: Engine, job: Job) -> TokenTimes:
    began = time.perf_counter()
    sampling = SamplingParams(max_tokens=job.output_tokens, temperature=0.0, ignore_eos=True)
    for index, prompt in enumerate(job.prompts):
        engine.add(AddRequest(f"{index}", prompt, sampling, arrival=0.0))
    times: TokenTimes = [[] for _ in job.prompts]
    while engine.wait_s() is not None:
        tokens = engine.step().tokens
        at_s = time.perf_counter() - began
        for token in tokens:
            if token.error is not None:
                raise RuntimeError(token.error)
            times[int(token.request_id)].append(at_s)
    return times
