"""transformers, continuous batching: what `generate_batch` runs, kept alive between jobs.

`generate_batch` builds its manager and cache anew at each call, seconds of set-up; here they are
made once while loading, so that no job pays for it.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from autotuner.worker.allocator import keep_freed_memory
from experiments.studies.worker_throughput.jobs import Job, Loaded, TokenTimes

CACHE_BLOCKS = 160  # of 256 tokens: two for each of 32 requests and far more
RESULT_TIMEOUT_S = 300.0


def load(model: Path, dtype: str) -> Loaded:
    """A manager whose thread waits for requests; no prefix is shared."""
    torch.set_num_threads(1)
    keep_freed_memory()
    causal: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
    causal.eval()
    make_config: Any = GenerationConfig
    make_batching: Any = ContinuousBatchingConfig
    with torch.inference_mode():
        manager = causal.init_continuous_batching(
            generation_config=make_config(do_sample=False, eos_token_id=-1, pad_token_id=0),
            continuous_batching_config=make_batching(
                num_blocks=CACHE_BLOCKS, allow_block_sharing=False
            ),
        )
        manager.start()

    def generate(job: Job) -> TokenTimes:
        return _generate(manager, job)

    return Loaded(
        generate,
        {name: version(name) for name in ("transformers", "torch")},
        "set-up of the manager is not timed",
    )


def _generate(manager: Any, job: Job) -> TokenTimes:
    began = time.perf_counter()
    ids = manager.add_requests(
        job.prompts, max_new_tokens=job.output_tokens, record_timestamps=True
    )
    stamps: dict[str, list[float]] = {}
    while len(stamps) < len(job.prompts):
        result = manager.get_result(timeout=RESULT_TIMEOUT_S)
        if result is None or result.error is not None:
            raise RuntimeError("no result" if result is None else result.error)
        if result.is_finished():
            stamps[result.request_id] = result.timestamps
    return [[at - began for at in stamps[request]] for request in ids]
