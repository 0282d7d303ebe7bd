"""Does the capacity planner's throughput for this machine come out as the worker's is?

Step times predicted from this machine's measured reading and arithmetic, against measured ones.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autotuner.planner.memory import Layout, Storage
from autotuner.planner.performance import Replica, step_s
from autotuner.planner.reading import read_model
from autotuner.planner.this_machine import Speed, device_of, measured
from autotuner.resources import resource_folder
from autotuner.worker.weights import resolve_model
from experiments.studies import _common
from experiments.studies.planner_check.decoding import Bench, StepTimes
from experiments.studies.planner_check.figure import draw

SEED = 0
PROMPT_TOKENS = 96
TARGET = 0.30


@dataclass(frozen=True)
class Plan:
    """`rounds`: the machine is measured, then every batch size, so many times over."""

    batches: tuple[int, ...]
    steps: int
    rounds: int


FULL = Plan((1, 2, 4, 8, 16, 32), steps=24, rounds=4)
QUICK = Plan((1, 4, 8), steps=3, rounds=1)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures, writes results.json and figure.png into `out`, returns the results."""
    plan = QUICK if quick else FULL
    torch.set_num_threads(1)
    folder = resolve_model(None)
    model = read_model(str(folder), resource_folder("policies") / "tables")
    speeds = [measured()]
    bench = Bench(folder, speeds[0].dtype, model.vocab_size, SEED)
    times: dict[int, list[StepTimes]] = {batch: [] for batch in plan.batches}
    for number in range(plan.rounds):
        if number:
            speeds.append(measured())
        for batch, found in times.items():
            found.append(bench.steps(batch, PROMPT_TOKENS, plan.steps))
    speed = _middle(speeds)
    replica = Replica(model, device_of(speed), Storage(speed.precision), Layout())
    rows = [_row(replica, batch, found, plan) for batch, found in times.items()]
    content = _common.results(
        "planner_check",
        packages=("torch",),
        seeds=[SEED],
        rows=rows,
        checks=_checks(rows),
        quick=quick,
        dtype=speed.dtype,
        one_thread={
            "read_gb_per_s": round(speed.read_bytes_per_s / 1e9, 2),
            "batch_gflop_per_s": round(speed.batch_flop_per_s / 1e9, 1),
            "prompt_gflop_per_s": round(speed.prompt_flop_per_s / 1e9, 1),
        },
    )
    _common.write(out, content)
    draw(content, out / "figure.png")
    return content


def _middle(speeds: list[Speed]) -> Speed:
    """The median of each rate: what the machine had while the steps were measured."""
    return Speed(
        dtype=speeds[0].dtype,
        read_bytes_per_s=statistics.median(one.read_bytes_per_s for one in speeds),
        batch_flop_per_s=statistics.median(one.batch_flop_per_s for one in speeds),
        prompt_flop_per_s=statistics.median(one.prompt_flop_per_s for one in speeds),
    )


def _row(replica: Replica, batch: int, found: list[StepTimes], plan: Plan) -> dict[str, Any]:
    # While the last of the batch is filled in, the first have decoded already: half of it on mean.
    context = PROMPT_TOKENS + batch / 2 + plan.steps / 2
    predicted_s = step_s(replica, batch, context)
    cpu_s = statistics.median(one.cpu_s for one in found)
    return {
        "batch": batch,
        "context_tokens": context,
        "step_ms": round(1000 * cpu_s, 3),
        "step_ms_rounds": [round(1000 * one.cpu_s, 3) for one in found],
        "wall_ms": round(1000 * statistics.median(one.wall_s for one in found), 3),
        "predicted_ms": round(1000 * predicted_s, 3),
        "tokens_per_s": round(batch / cpu_s, 2),
        "predicted_tokens_per_s": round(batch / predicted_s, 2),
        "error": round(cpu_s / predicted_s - 1, 4),  # of the throughput
    }


def _checks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        _common.check(
            f"decode, batch {row['batch']}: predicted throughput off by",
            abs(row["error"]),
            "of the measured",
            TARGET,
            "at_most",
        )
        for row in rows
    ]
