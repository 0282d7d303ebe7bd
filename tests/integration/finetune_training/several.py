"""Forks the processes of runs: `python -m … several OUT JOB…`; torch is imported once for all.

A job is the name of a folder under OUT with a prepared run, or `gradients`: what comes out of a
backward pass by every kind of compression, written to OUT/gradients.json.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import peft  # noqa: F401  # what the processes would each import for themselves
import torch
import transformers.models.llama.modeling_llama  # noqa: F401
from torch import nn

from autotuner.finetune.training.cluster import Cluster
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.rank import run_rank
from autotuner.finetune.training.run_folder import RunFolder

SIZE = 16  # of a square weight
START = 2  # the update from which PowerSGD compresses
KINDS = {
    "none": TrainingPlan(processes=2),
    "fp16": TrainingPlan(processes=2, compression="fp16"),
    "powersgd": TrainingPlan(
        processes=2, compression="powersgd", powersgd_rank=2, powersgd_start=START
    ),
}


def main(out: Path, jobs: list[str]) -> None:
    for job in jobs:
        if job == "gradients":
            for kind, plan in KINDS.items():
                fork(2, lambda kind=kind, plan=plan: gradients(out, kind, plan))  # type: ignore[misc]
        else:
            folder = RunFolder(out / job)
            fork(folder.task().plan.processes, lambda f=folder: run_rank(f, lambda _: None))  # type: ignore[misc]


def gradients(out: Path, kind: str, plan: TrainingPlan) -> None:
    """Each rank's own gradient is known: what is left of their mean, by update."""
    cluster = Cluster(plan)
    layer = nn.Linear(SIZE, SIZE, bias=False)
    wrapped, found = cluster.wrap(layer), []
    for update in range(-cluster.rehearsals, START + 1):
        (wrapped(inputs(cluster.rank, update)) * outputs(cluster.rank)).sum().backward()
        assert layer.weight.grad is not None
        if update >= 0:
            found.append(layer.weight.grad.tolist())
        layer.weight.grad = None
    if cluster.rank == 0:
        (out / f"gradients-{kind}.json").write_text(json.dumps(found))
    cluster.close()


def inputs(rank: int, update: int) -> torch.Tensor:
    return torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(100 * rank + update + 9))


def outputs(rank: int) -> torch.Tensor:
    return torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(7 + rank))


def fork(processes: int, work: Callable[[], None]) -> None:
    """Runs `work` in so many processes as torchrun would start; ends with the first that fails."""
    port = free_port()
    children = [_child(rank, processes, port, work) for rank in range(processes)]
    failed = [pid for pid in children if os.waitpid(pid, 0)[1]]
    if failed:
        sys.exit(1)


def _child(rank: int, processes: int, port: int, work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    values = (rank, rank, processes, "127.0.0.1", port)
    os.environ.update(dict(zip(names, map(str, values), strict=True)))
    try:
        work()
        os._exit(0)
    finally:
        traceback.print_exc()
        os._exit(1)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
