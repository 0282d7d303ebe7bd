"""transformers, static batching: `generate()` on one batch padded on the left to its longest."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, StoppingCriteria

from autotuner.worker.allocator import keep_freed_memory
from experiments.studies.worker_throughput.jobs import Job, Loaded, TokenTimes


class _Clock(StoppingCriteria):
    """Notes when each token of the batch is there; it never stops anything."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.times_s: list[float] = []

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        self.times_s.append(time.perf_counter() - self.began)
        return torch.zeros(len(input_ids), dtype=torch.bool)


def load(model: Path, dtype: str) -> Loaded:
    """Its default attention (SDPA); the allocator keeps memory as the worker's does."""
    torch.set_num_threads(1)
    keep_freed_memory()
    causal: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
    causal.eval()

    def generate(job: Job) -> TokenTimes:
        return _generate(causal, job)

    return Loaded(generate, {name: version(name) for name in ("transformers", "torch")})


def _generate(causal: Any, job: Job) -> TokenTimes:
    clock = _Clock()
    longest = max(map(len, job.prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in job.prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in job.prompts])
    make_config: Any = GenerationConfig
    config = make_config(
        max_new_tokens=job.output_tokens,
        min_new_tokens=job.output_tokens,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    with torch.inference_mode():
        causal.generate(
            ids, attention_mask=mask, generation_config=config, stopping_criteria=[clock]
        )
    return [clock.times_s for _ in job.prompts]
