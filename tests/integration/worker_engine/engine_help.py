"""Drives an engine in-process and collects what it says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import AddRequest, SamplingParams, TokenOutput
from autotuner.worker.sequence import Chunk
from autotuner.worker.settings import WorkerSettings

KNOBS = frozenset(field.name for field in fields(WorkerSettings))
GREEDY = SamplingParams(max_tokens=1, temperature=0.0, ignore_eos=True)


def make_engine(folder: Path, **changes: Any) -> Engine:
    """In float32 and small, unless changed; changes name options or knobs."""
    knobs = {name: changes.pop(name) for name in list(changes) if name in KNOBS}
    options = {"kv_cache_gib": 0.5, "settings": WorkerSettings(**knobs), **changes}
    return Engine(EngineOptions(folder, **options))


def greedy(max_tokens: int) -> SamplingParams:
    return SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True)


def random_prompt(tokens: int, vocab_size: int, seed: int = 0) -> list[int]:
    source = random.Random(f"{seed}/{tokens}")
    return [source.randrange(vocab_size) for _ in range(tokens)]


class Spy:
    """Logits of each request's draws, in order: request_id to a list of [vocab_size]."""

    def __init__(self, engine: Engine) -> None:
        self.logits: dict[str, list[Tensor]] = {}
        engine.runner.on_logits = self._see

    def _see(self, chunks: Sequence[Chunk], logits: Tensor) -> None:
        for chunk, row in zip(chunks, logits, strict=True):
            self.logits.setdefault(chunk.sequence.request_id, []).append(row.float().clone())


def run_all(
    engine: Engine,
    requests: dict[str, tuple[list[int], SamplingParams]],
    settings: Sequence[WorkerSettings] = (),
) -> dict[str, list[int]]:
    """Each request's tokens; the settings change on every step, in turn, when several are given."""
    for name, (prompt, sampling) in requests.items():
        engine.add(AddRequest(name, prompt, sampling, arrival=0.0))
    tokens: dict[str, list[int]] = {name: [] for name in requests}
    steps = 0
    while engine.wait_s() is not None:
        if settings:
            engine.apply(settings[steps % len(settings)], steps)
        outputs = engine.step().tokens
        steps += 1
        for output in outputs:
            tokens[output.request_id].append(_token(output))
    return tokens


def _token(output: TokenOutput) -> int:
    assert output.error is None, output.error
    assert output.token_id is not None
    return output.token_id


def reference_logits(model: Any, tokens: list[int]) -> Tensor:
    """transformers' logits of one sequence: [tokens, vocab_size]."""
    with torch.inference_mode():
        logits: Tensor = model(torch.tensor([tokens])).logits[0]
    return logits.float()


def largest_difference(spied: list[Tensor], reference: Tensor) -> float:
    """Between draws of a request and the last rows of its reference."""
    return float((torch.stack(spied) - reference[-len(spied) :]).abs().max())
