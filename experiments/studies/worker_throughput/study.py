"""Tokens per second of the worker's engine against other engines, and against the machine's floor.

One thread each, the same weights and prompts; every engine in its own process, runs interleaved.
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autotuner.worker.cpu_features import default_weight_dtype
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.weights import resolve_model
from experiments.studies import _common
from experiments.studies.worker_throughput import peers
from experiments.studies.worker_throughput.figure import draw
from experiments.studies.worker_throughput.floors import Bench, Floors, Machine
from experiments.studies.worker_throughput.jobs import (
    Answer,
    Job,
    decode_rate,
    output_rate,
    prefill_rate,
)

SEED = 0
PROMPT_TOKENS = (64, 256)  # end to end
CONTEXT_TOKENS = 140  # of decode, on average
FLOOR_TARGET = 0.60
WARM_UP_TOKENS = 8  # of each request
Kind = str
DECODE, PREFILL, END_TO_END = "decode", "prefill", "end to end"


@dataclass(frozen=True)
class Plan:
    """`repeats` counted runs of every size by every engine, after one that warms up."""

    batches: tuple[int, ...]
    decode_tokens: int
    prefills: tuple[int, ...]
    requests: int
    output_tokens: int
    repeats: int
    bench_bytes: int
    own_dtypes: tuple[str, ...]


def _plan(quick: bool) -> Plan:
    default = default_weight_dtype("cpu")
    if quick:
        return Plan((1, 4), 6, (128,), 4, 6, 1, 64 * 2**20, (default,))
    dtypes = tuple(dict.fromkeys((default, "float32")))
    return Plan((1, 4, 8, 16, 32), 48, (128, 1500), 32, 64, 3, 512 * 2**20, dtypes)


@dataclass(frozen=True)
class Size:
    """A job and the figure (tokens per second) that its answer gives."""

    kind: Kind
    amount: int  # batch, prompt tokens, requests
    job: Job
    rate: Callable[[Answer], float]

    @property
    def name(self) -> str:
        unit = {DECODE: "batch {}", PREFILL: "{} tokens", END_TO_END: "{} requests"}[self.kind]
        return f"{self.kind}, {unit.format(self.amount)}"


@dataclass(frozen=True)
class Measured:
    """What the counted runs of one engine at one size gave."""

    rates: tuple[float, ...]
    job_cpu_s: float
    cpu_over_wall: float

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


Results = dict[tuple[peers.Engine, str], Measured]


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures, writes results.json and figure.png into `out`, returns the results."""
    plan = _plan(quick)
    folder = resolve_model(None)
    config = ModelConfig.from_folder(folder)
    sizes = _sizes(plan, config.vocab_size)
    engines = _engines(plan)
    default = plan.own_dtypes[0]
    bench = Bench(plan.bench_bytes, getattr(torch, default))
    with peers.Peers(engines, folder) as started:
        measured, machine = _measure(plan, sizes, started.running, bench)
        told = _told(started)
    floors = Floors(config, machine, getattr(torch, default).itemsize)
    rows = _rows(measured, sizes, floors, default) + [
        {"engine": engine.name, "dtype": engine.dtype, "size": peers.NOT_INSTALLED}
        for engine in started.missing
    ]
    content = _common.results(
        "worker_throughput",
        packages=("torch",),
        seeds=[SEED],
        rows=rows,
        checks=_checks(rows, sizes, default),
        quick=quick,
        default_dtype=default,
        engines=told,
        one_thread={
            "read_gb_per_s": round(machine.read_bytes_per_s / 1e9, 2),
            "read_with": machine.read_with,
            "gemm_gflop_per_s": round(machine.flops_per_s / 1e9, 1),
        },
    )
    _common.write(out, content)
    draw(rows, default, out / "figure.png")
    return content


def _engines(plan: Plan) -> list[peers.Engine]:
    default = plan.own_dtypes[0]
    return [
        *(peers.Engine(peers.OWN, "own_engine", dtype) for dtype in plan.own_dtypes),
        peers.Engine(peers.STATIC, "transformers_static", default),
        peers.Engine(peers.CONTINUOUS, "transformers_continuous", default),
        peers.Engine(peers.VLLM, "vllm_cpu", default),
    ]


def _sizes(plan: Plan, vocab_size: int) -> list[Size]:
    """Random prompts, the same for every engine and run."""
    source = random.Random(SEED)

    def prompt(tokens: int) -> list[int]:
        return [source.randrange(vocab_size) for _ in range(tokens)]

    first = CONTEXT_TOKENS - plan.decode_tokens // 2
    return [
        *(
            Size(DECODE, n, Job([prompt(first) for _ in range(n)], plan.decode_tokens), decode_rate)
            for n in plan.batches
        ),
        *(Size(PREFILL, n, Job([prompt(n)], 1), prefill_rate(n)) for n in plan.prefills),
        Size(
            END_TO_END,
            plan.requests,
            Job(
                [prompt(source.randint(*PROMPT_TOKENS)) for _ in range(plan.requests)],
                plan.output_tokens,
            ),
            output_rate,
        ),
    ]


def _measure(
    plan: Plan, sizes: list[Size], running: list[peers.Peer], bench: Bench
) -> tuple[Results, Machine]:
    """Every engine runs a size before the next size comes; who is first changes every round."""
    answers: dict[tuple[peers.Engine, str], list[Answer]] = defaultdict(list)
    machine = bench.measure(repeats=3)
    for repeat in range(plan.repeats + 1):
        machine = machine.best_of(bench.measure(repeats=3))
        shift = repeat % len(running)
        for size in sizes:
            for peer in running[shift:] + running[:shift]:
                if not repeat:
                    peer.run(size.job.cut_to(WARM_UP_TOKENS))
                    continue
                answer = peer.run(size.job)
                answers[peer.engine, size.name].append(answer)
    rate = {size.name: size.rate for size in sizes}
    return {
        key: Measured(
            tuple(rate[key[1]](answer) for answer in given),
            statistics.median(answer.cpu_s for answer in given),
            statistics.median(answer.cpu_s / answer.wall_s for answer in given),
        )
        for key, given in answers.items()
    }, machine


def _told(started: peers.Peers) -> dict[str, Any]:
    """Versions and notes of every engine, by its label."""
    running = {
        peer.engine.label: {**peer.versions, **({"note": peer.note} if peer.note else {})}
        for peer in started.running
    }
    return running | {engine.label: peers.NOT_INSTALLED for engine in started.missing}


def _rows(
    measured: Results, sizes: list[Size], floors: Floors, default: str
) -> list[dict[str, Any]]:
    """Engine by engine, in the order in which they are named."""
    by_name = {size.name: size for size in sizes}
    order = (peers.OWN, peers.VLLM, peers.STATIC, peers.CONTINUOUS)
    rows = []
    for (engine, name), result in sorted(
        measured.items(),
        key=lambda item: (item[0][0].dtype != default, order.index(item[0][0].name)),
    ):
        size = by_name[name]
        row = {
            "engine": engine.name,
            "dtype": engine.dtype,
            "size": name,
            "kind": size.kind,
            "amount": size.amount,
            "tokens_per_s": round(result.median, 2),
            "tokens_per_s_runs": [round(rate, 2) for rate in result.rates],
            "job_cpu_s": round(result.job_cpu_s, 3),
            "cpu_over_wall": round(result.cpu_over_wall, 3),
        }
        if size.kind == DECODE and engine.dtype == default:
            row |= _against_floors(size.amount, result.median, floors)
        rows.append(row)
    return rows


def _against_floors(batch: int, tokens_per_s: float, floors: Floors) -> dict[str, float]:
    step_s = batch / tokens_per_s
    memory_s = floors.memory_s(batch, CONTEXT_TOKENS)
    arithmetic_s = floors.arithmetic_s(batch, CONTEXT_TOKENS)
    return {
        "step_ms": round(1000 * step_s, 3),
        "memory_floor_ms": round(1000 * memory_s, 3),
        "arithmetic_floor_ms": round(1000 * arithmetic_s, 3),
        "of_memory_floor": round(memory_s / step_s, 4),
        "of_greater_floor": round(max(memory_s, arithmetic_s) / step_s, 4),
    }


def _checks(rows: list[dict[str, Any]], sizes: list[Size], default: str) -> list[dict[str, Any]]:
    own = {r["size"]: r for r in rows if r["engine"] == peers.OWN and r["dtype"] == default}
    checks = []
    for size in sizes:
        others = {
            row["engine"]: row["tokens_per_s"]
            for row in rows
            if row["size"] == size.name and row["engine"] != peers.OWN
        }
        if others:
            best = max(others, key=lambda name: others[name])
            ahead = round(own[size.name]["tokens_per_s"] / others[best], 3)
            name = f"{size.name}: tokens/s over the fastest peer ({best})"
            checks.append(_common.check(name, ahead, "times", 1.0, "at_least"))
    decodes = [row for row in own.values() if row["kind"] == DECODE]
    for row in (decodes[0], decodes[-1]):
        checks += [
            _common.check(
                f"{row['size']}: share of the {floor} floor",
                row[field],
                "of the floor",
                FLOOR_TARGET,
                "at_least",
            )
            for floor, field in (
                ("memory", "of_memory_floor"),
                ("greater (memory or arithmetic)", "of_greater_floor"),
            )
        ]
    return checks
