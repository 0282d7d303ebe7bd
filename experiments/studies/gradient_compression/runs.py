"""Which runs there are, and what is told of each: a row of results.json."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from autotuner.finetune.evaluation import evaluate
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.run_folder import RunFolder, Task
from experiments.studies.gradient_compression.model import make_examples
from experiments.studies.gradient_compression.network import Network

MBIT_PER_S = 100.0  # of each node, either way
PER_PROCESS = 4  # examples of an update: the batch grows with the processes
START = 5  # updates that all kinds make alike, before compression or local averaging begins
HELD_OUT = 64
LARGE_MB = 100.0  # one bucket: nothing is sent before the backward pass is over

PLAN = TrainingPlan(
    method="full",
    learning_rate=3e-3,
    warmup_share=0.1,
    micro_batch=PER_PROCESS,
    max_tokens=64,
    bucket_mb=0.5,
    powersgd_rank=2,
    powersgd_start=START,
    local_start=START,
    average_every=4,
)
PLAIN, ONE_BUCKET, FP16, HIERARCHICAL = ("plain", "plain, one bucket", "fp16", "hierarchical")
POWERSGD, POWERSGD_8 = "PowerSGD, rank 2", "PowerSGD, rank 8"
KINDS: dict[str, Mapping[str, Any]] = {
    PLAIN: {},
    ONE_BUCKET: {"bucket_mb": LARGE_MB},
    FP16: {"compression": "fp16"},
    POWERSGD: {"compression": "powersgd"},
    POWERSGD_8: {"compression": "powersgd", "powersgd_rank": 8},
    HIERARCHICAL: {"averaging": "hierarchical"},
}


@dataclass(frozen=True)
class Run:
    """`per_node` processes on each of `nodes`; one node alone sends nothing. `mbit_per_s` None:
    the network has no bound.
    """

    kind: str
    nodes: int
    seed: int
    per_node: int = 1
    mbit_per_s: float | None = MBIT_PER_S

    @property
    def processes(self) -> int:
        return self.nodes * self.per_node

    @property
    def name(self) -> str:
        limit = "free" if self.mbit_per_s is None else "limited"
        return f"{self.kind}-{self.nodes}x{self.per_node}-{limit}-{self.seed}".replace(", ", "-")

    def plan(self) -> TrainingPlan:
        return replace(
            PLAN,
            **KINDS[self.kind],
            processes=self.processes,
            batch_size=PER_PROCESS * self.processes,
            group_size=self.per_node,
            seed=self.seed,
        )

    def measured_from(self) -> int:
        """The update from which on its kind acts; its times and bytes count from there."""
        return START + 1


def carry_out(
    runs: Sequence[Run], updates: int, base: Path, scratch: Path, *, in_namespaces: bool = True
) -> list[dict[str, Any]]:
    """A row for each run; raises ConfigError where there can be no network.

    Not `in_namespaces`: all on the loopback, without a bound, its traffic shared out equally.
    """
    for run in runs:
        examples = make_examples(updates * PER_PROCESS * run.processes, run.seed)
        task = Task(Base.find(base), run.plan(), {})
        RunFolder(scratch / run.name).prepare(task, examples)
    for nodes, bound in dict.fromkeys((run.nodes, run.mbit_per_s) for run in runs):
        mine = [run for run in runs if (run.nodes, run.mbit_per_s) == (nodes, bound)]
        if nodes == 1 or not in_namespaces:
            _start(mine, None, scratch)
            continue
        with Network(nodes).made() as network:
            network.limit(bound)
            _start(mine, network, scratch)
    return [_row(run, scratch / run.name, 1 if in_namespaces else run.nodes) for run in runs]


def _start(runs: Sequence[Run], network: Network | None, scratch: Path) -> None:
    jobs = [
        {
            "folder": str(scratch / run.name),
            "address": network.address(0) if network else "127.0.0.1",
            "namespaces": [
                network.namespace(node) if network else None
                for node in range(run.nodes)
                for _ in range(run.per_node)
            ],
        }
        for run in runs
    ]
    path = scratch / "jobs.json"
    path.write_text(json.dumps(jobs), encoding="utf-8")
    module = "experiments.studies.gradient_compression.processes"
    subprocess.run([sys.executable, "-m", module, str(path)], check=True)


def _row(run: Run, folder: Path, on_an_interface: int) -> dict[str, Any]:
    seen = [
        json.loads((folder / f"seen{rank}.json").read_text(encoding="utf-8"))
        for rank in range(run.processes)
    ]
    first = run.measured_from()
    rounds = (len(seen[0]) - first) // PLAN.average_every
    last = first + rounds * PLAN.average_every
    sent = [
        (of[last - 1]["sent_bytes"] - of[first - 1]["sent_bytes"]) / (last - first)
        for of in seen[:: run.per_node]  # a node's processes share its interface
    ]
    held_out = make_examples(HELD_OUT, seed=10_000)
    losses = [item.loss for item in RunFolder(folder).progress.read()]
    return {
        "kind": run.kind,
        "nodes": run.nodes,
        "per_node": run.per_node,
        "mbit_per_s": run.mbit_per_s,
        "seed": run.seed,
        "updates": len(losses),
        "sent_kb_per_node_and_update": (
            fmean(sent) / on_an_interface / 1000 if run.nodes > 1 else 0.0
        ),
        "step_s": least_of_rounds(seen[0][first:last], "step_s"),
        "mean_step_s": fmean(update["step_s"] for update in seen[0][first:last]),
        "gradient_update_s": least_of_rounds(seen[0][first:last], "gradient_update_s"),
        "last_loss": fmean(losses[-5:]),
        "held_out_loss": evaluate(folder / "model", None, held_out).loss,
    }


def with_efficiency(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with two shares, None where what they refer to was not measured.

    `efficiency`: how long an update takes one process alone, against this. `of_network`: how long
    it takes as many processes on an unlimited network: what the lack of cores does is in both.
    """
    alone = min((row["step_s"] for row in rows if row["nodes"] == 1), default=None)
    free = {row["nodes"]: row["step_s"] for row in rows if row["mbit_per_s"] is None}

    def told(row: Mapping[str, Any]) -> dict[str, Any]:
        reference = free.get(row["nodes"]) if row["per_node"] == 1 else None
        shares = {"efficiency": alone, "of_network": reference}
        return {k: None if s is None else s / row["step_s"] for k, s in shares.items()}

    return [{**row, **told(row)} for row in rows]


def least_of_rounds(updates: Sequence[Mapping[str, float]], field: str) -> float:
    """The mean over the fastest round, seconds: whatever else runs on the machine only ever adds.

    A round is as many updates as hierarchical averaging needs to have sent its weights once.
    """
    size = PLAN.average_every
    values = [update[field] for update in updates]
    return min(fmean(values[at : at + size]) for at in range(0, len(values), size))
