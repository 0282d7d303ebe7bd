"""Times of decode steps at a context, by attention mode, on one engine whose knob is switched."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autotuner.worker.allocator import keep_freed_memory
from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import AddRequest, SamplingParams, StepOutput
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.settings import AttentionMode, WeightDtype, WorkerSettings

KV_CACHE_GIB = 2.0
PREFILL_BUDGET = 1024  # tokens a step


@dataclass(frozen=True)
class Timing:
    """`rounds` times, each mode in turn: a step that is not counted, then `steps` counted ones."""

    batch: int
    rounds: int
    steps: int
    seed: int


def step_times(
    folder: Path,
    dtype: WeightDtype,
    context: int,
    modes: Sequence[AttentionMode],
    timing: Timing,
) -> dict[AttentionMode, list[float]]:
    """Seconds of every counted step by mode, with contexts centred on `context` tokens.

    The prompts are filled in by sliding_window, the quickest: what K and V hold changes no time.
    """
    keep_freed_memory()
    steps = timing.rounds * len(modes) * (1 + timing.steps)
    settings = WorkerSettings(
        max_num_seqs=timing.batch,
        max_num_batched_tokens=PREFILL_BUDGET,
        weight_dtype=dtype,
        attention="sliding_window",
    )
    options = EngineOptions(
        folder,
        kv_cache_gib=KV_CACHE_GIB,
        max_model_len=ModelConfig.from_folder(folder).max_model_len,
        prefix_caching=False,
        settings=settings,
    )
    engine = Engine(options)
    try:
        _fill(engine, context - steps // 2, timing)
        return _switching(engine, settings, modes, timing)
    finally:
        engine.close()


def _fill(engine: Engine, prompt_tokens: int, timing: Timing) -> None:
    """Adds the batch and runs until every sequence decodes."""
    source = random.Random(timing.seed)
    room = engine.limits.max_model_len - prompt_tokens
    sampling = SamplingParams(max_tokens=room, temperature=0.0, ignore_eos=True)
    for index in range(timing.batch):
        prompt = [source.randrange(1000, 40_000) for _ in range(prompt_tokens)]
        engine.add(AddRequest(f"{index}", prompt, sampling, arrival=0.0))
    step = engine.step()
    while step.waiting or step.prefill_tokens:
        _check(step)
        step = engine.step()


def _switching(
    engine: Engine, settings: WorkerSettings, modes: Sequence[AttentionMode], timing: Timing
) -> dict[AttentionMode, list[float]]:
    times: dict[AttentionMode, list[float]] = {mode: [] for mode in modes}
    for _ in range(timing.rounds):
        for mode in modes:
            engine.apply(replace(settings, attention=mode), engine.generation + 1)
            _timed(engine, timing)  # what the mode before left in the caches is not its doing
            times[mode] += [_timed(engine, timing) for _ in range(timing.steps)]
    return times


def _timed(engine: Engine, timing: Timing) -> float:
    began = time.perf_counter()
    step = engine.step()
    seconds = time.perf_counter() - began
    _check(step)
    if step.decode_seqs != timing.batch:
        raise RuntimeError(f"a step of {step.decode_seqs} sequences, not of {timing.batch}")
    return seconds


def _check(step: StepOutput) -> None:
    for token in step.tokens:
        if token.finish is not None:
            raise RuntimeError(f"a sequence ended: {token.finish} {token.error or ''}")
