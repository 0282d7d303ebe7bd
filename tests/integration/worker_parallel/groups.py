"""Engines over groups of real processes, and what is seen of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig

from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import SamplingParams
from autotuner.worker.parallel.group_executor import GroupExecutor
from autotuner.worker.parallel.hosts import LocalHosts
from autotuner.worker.settings import WorkerSettings
from tests.integration.worker_engine.engine_help import Spy, greedy, random_prompt, run_all
from tests.integration.worker_engine.tiny_models import make_tiny

VOCAB = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 50,  # not to be divided by 3 or 4
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
Requests = dict[str, tuple[list[int], SamplingParams]]


def tiny_model(folder: Path, **changes: Any) -> Path:
    config = LlamaConfig(**{**SIZES, **changes})
    make_tiny(config).save_pretrained(folder)
    return folder


def options_of(
    folder: Path, tensor: int = 1, stages: int = 1, adapters: Path | None = None, **knobs: Any
) -> EngineOptions:
    settings = WorkerSettings(tensor_parallel_size=tensor, pipeline_parallel_size=stages, **knobs)
    return EngineOptions(folder, adapters, kv_cache_gib=0.05, max_model_len=256, settings=settings)


@contextmanager
def group_engine(options: EngineOptions, *, share_memory: bool = True) -> Iterator[Engine]:
    """An engine whose leader is this process."""
    lost: list[str] = []
    executor = GroupExecutor(options, LocalHosts(share_memory=share_memory), lost.append)
    engine = Engine(options, executor)
    try:
        yield engine
    finally:
        engine.close()
    assert not lost


def answers(
    engine: Engine, requests: Requests, settings: Sequence[WorkerSettings] = ()
) -> tuple[dict[str, list[int]], dict[str, Tensor]]:
    """Each request's tokens and the logits that they were drawn from, [tokens, vocab_size]."""
    spy = Spy(engine)
    tokens = run_all(engine, requests, settings)
    return tokens, {name: torch.stack(rows) for name, rows in spy.logits.items()}


def mixed_requests(vocab_size: int, lengths: Sequence[int]) -> Requests:
    """Prompts that end at different steps, so that decoding and chunks share batches."""
    return {
        f"{i}": (random_prompt(length, vocab_size, i), greedy(3 + 2 * (i % 4)))
        for i, length in enumerate(lengths)
    }


def child_pids(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def followers_of(pid: int) -> list[int]:
    """The processes that `pid` spawned; Python's resource tracker is none."""
    return [child for child in child_pids(pid) if "spawn_main" in command_of(child)]


def is_running(pid: int) -> bool:
    """A process that ended but was not waited for has no command line."""
    return command_of(pid) != ""


def until(holds: Callable[[], bool], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "did not come to be in time"
        time.sleep(0.02)
