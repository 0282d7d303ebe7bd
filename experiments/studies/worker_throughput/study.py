"""Output tokens per second of the worker's engine against transformers' static batching.

One thread, the same weights and prompts; runs of both are interleaved in one process.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autotuner.worker.allocator import keep_freed_memory
from autotuner.worker.dtypes import cpu_has_bf16_units
from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions, WeightDtype
from autotuner.worker.messages import AddRequest, SamplingParams
from autotuner.worker.settings import WorkerSettings
from autotuner.worker.weights import ModelConfig, resolve_model
from experiments.studies import _common

SEED = 0
PROMPT_TOKENS = (64, 256)
SPEEDUP_TARGET = 1.4
OWN, THEIRS = "own engine", "transformers"


@dataclass(frozen=True)
class Plan:
    """`requests` all at once, `output_tokens` each; `repeats` counted runs of each engine."""

    requests: int
    output_tokens: int
    repeats: int


FULL = Plan(requests=32, output_tokens=64, repeats=3)
QUICK = Plan(requests=4, output_tokens=8, repeats=1)


@dataclass(frozen=True)
class Timing:
    """One run. With one thread, CPU time is wall time on a core that nobody else uses."""

    wall_s: float
    cpu_s: float


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures, writes results.json and figure.png into `out`, returns the results."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as the worker does; transformers gains from it too
    plan = QUICK if quick else FULL
    folder = resolve_model(None)
    prompts = _prompts(plan, ModelConfig.from_folder(folder).vocab_size)
    rows = [row for dtype in _dtypes() for row in _rows(folder, dtype, prompts, plan)]
    default = _dtypes()[0]
    content = _common.results(
        "worker_throughput",
        packages=("torch", "transformers"),
        seeds=[SEED],
        rows=rows,
        checks=_checks(rows, default),
        quick=quick,
        default_dtype=default,
    )
    _common.write(out, content)
    _draw(rows, out / "figure.png")
    return content


def _dtypes() -> tuple[WeightDtype, ...]:
    """The default dtype of this machine first."""
    return ("bfloat16", "float32") if cpu_has_bf16_units() else ("float32",)


def _prompts(plan: Plan, vocab_size: int) -> list[list[int]]:
    source = random.Random(SEED)
    return [
        [source.randrange(vocab_size) for _ in range(source.randint(*PROMPT_TOKENS))]
        for _ in range(plan.requests)
    ]


def _rows(
    folder: Path, dtype: WeightDtype, prompts: list[list[int]], plan: Plan
) -> list[dict[str, Any]]:
    runs: dict[str, Callable[[], None]] = {
        OWN: _own(folder, dtype, prompts, plan.output_tokens),
        THEIRS: _theirs(folder, dtype, prompts, plan.output_tokens),
    }
    timings: dict[str, list[Timing]] = {name: [] for name in runs}
    for repeat in range(plan.repeats + 1):
        for name, once in runs.items():
            timing = _timed(once)
            if repeat:  # the first run of each warms up
                timings[name].append(timing)
    tokens = plan.requests * plan.output_tokens
    return [_row(name, dtype, tokens, measured) for name, measured in timings.items()]


def _row(name: str, dtype: str, tokens: int, timings: list[Timing]) -> dict[str, Any]:
    by_cpu = [tokens / timing.cpu_s for timing in timings]
    by_wall = [tokens / timing.wall_s for timing in timings]
    return {
        "engine": name,
        "dtype": dtype,
        "output_tokens": tokens,
        "tokens_per_cpu_s": round(statistics.median(by_cpu), 1),
        "tokens_per_cpu_s_runs": [round(value, 1) for value in by_cpu],
        "tokens_per_wall_s": round(statistics.median(by_wall), 1),
        "tokens_per_wall_s_runs": [round(value, 1) for value in by_wall],
    }


def _timed(once: Callable[[], None]) -> Timing:
    wall, cpu = time.perf_counter(), time.process_time()
    once()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def _own(
    folder: Path, dtype: WeightDtype, prompts: list[list[int]], output_tokens: int
) -> Callable[[], None]:
    settings = WorkerSettings(max_num_seqs=len(prompts))
    engine = Engine(EngineOptions(folder, dtype, settings=settings))
    sampling = SamplingParams(max_tokens=output_tokens, temperature=0.0, ignore_eos=True)

    def once() -> None:
        for index, prompt in enumerate(prompts):
            engine.add(AddRequest(f"{index}", prompt, sampling, arrival=0.0))
        tokens = 0
        while engine.wait_s() is not None:
            tokens += len(engine.step().tokens)
        if tokens != len(prompts) * output_tokens:
            raise RuntimeError(
                f"{tokens} tokens came, {len(prompts) * output_tokens} were asked for"
            )

    return once


def _theirs(
    folder: Path, dtype: WeightDtype, prompts: list[list[int]], output_tokens: int
) -> Callable[[], None]:
    """generate() on one batch padded on the left to the longest prompt."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model.eval()
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    make_config: Any = GenerationConfig
    config = make_config(
        max_new_tokens=output_tokens,
        min_new_tokens=output_tokens,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )

    def once() -> None:
        with torch.inference_mode():
            answer = model.generate(ids, attention_mask=mask, generation_config=config)
        if answer.shape != (len(prompts), longest + output_tokens):
            raise RuntimeError(f"transformers returned {tuple(answer.shape)}")

    return once


def _checks(rows: list[dict[str, Any]], default: str) -> list[dict[str, Any]]:
    median = {
        (row["engine"], row["dtype"], unit): float(row[unit])
        for row in rows
        for unit in ("tokens_per_cpu_s", "tokens_per_wall_s")
    }

    def speedup(unit: str) -> float:
        return round(median[OWN, default, unit] / median[THEIRS, default, unit], 2)

    return [
        _common.check(
            f"output tokens per {clock} second over transformers, {default}, one thread",
            speedup(unit),
            "times",
            SPEEDUP_TARGET,
            "at_least",
        )
        for clock, unit in (("CPU", "tokens_per_cpu_s"), ("wall", "tokens_per_wall_s"))
    ]


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    labels = [f"{row['engine']}\n{row['dtype']}" for row in rows]
    values = [row["tokens_per_cpu_s"] for row in rows]
    colours = ["#2a78b5" if row["engine"] == OWN else "#b0b0b0" for row in rows]
    bars = axes.barh(labels, values, color=colours)
    axes.bar_label(bars, fmt="%.0f", padding=12)
    for index, row in enumerate(rows):
        runs = row["tokens_per_cpu_s_runs"]
        axes.plot(runs, [index] * len(runs), "|", color="black", markersize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("output tokens per CPU second, one thread (median; each run a tick)")
    axes.set_title(f"{rows[0]['output_tokens']} output tokens, all requests at once")
    figure.savefig(path, dpi=120)
