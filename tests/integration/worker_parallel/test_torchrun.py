"""A worker whose ranks torchrun started: rank 0 serves, the other ranks host its followers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.integration.worker_engine.tiny_adapters import save_adapter
from tests.integration.worker_parallel.groups import (
    child_pids,
    command_of,
    is_running,
    until,
)
from tests.integration.worker_parallel.served import ServedWorker, serving

pytestmark = pytest.mark.process

RANK = "autotuner.worker.parallel.rank"


class World(ServedWorker):
    def hosts(self) -> list[int]:
        """Ranks other than 0: those that listen for leaders have no engine."""
        assert self.process.pid is not None
        ranks = [pid for pid in child_pids(self.process.pid) if RANK in command_of(pid)]
        return ranks[1:]

    def followers(self) -> list[int]:
        return [
            child
            for host in self.hosts()
            for child in child_pids(host)
            if "spawn_main" in command_of(child)
        ]


def torchrun(ranks: int, log: Path, *options: str) -> AbstractContextManager[World]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={ranks}", "-m", RANK, "--port=0", *options]
    return serving(World, command, log)


def test_it_serves_rebuilds_and_ends_with_the_worker(served: Path, tmp_path: Path) -> None:
    load: Any = AutoModelForCausalLM
    save_adapter(load.from_pretrained(served, dtype=torch.float32), tmp_path / "v1")
    options = (f"--model={served}", "--kv-cache-gib=0.05", "--tensor-parallel-size=2")
    with torchrun(3, tmp_path / "log", f"--adapters={tmp_path}", *options) as world:
        text = world.complete()
        first = world.followers()
        assert len(first) == 1
        assert world.put(weights="v1")["weights"] == "v1"
        adapted = world.complete()
        assert adapted != text
        assert world.put(tensor_parallel_size=1, pipeline_parallel_size=3)
        assert world.complete() == adapted
        until(lambda: len(world.followers()) == 2, 20.0)
        assert not set(first) & set(world.followers())
        left = [*world.hosts(), *world.followers()]
        os.kill(world.process.pid, signal.SIGTERM)
        world.process.wait(30)
        until(lambda: not any(map(is_running, left)), 5.0)


def test_a_lost_host_takes_its_group_down_and_torchrun_ends_all(
    served: Path, tmp_path: Path
) -> None:
    options = (f"--model={served}", "--kv-cache-gib=0.05", "--pipeline-parallel-size=2")
    with torchrun(2, tmp_path / "log", *options) as world:
        (host,), followers = world.hosts(), world.followers()
        os.kill(host, signal.SIGKILL)
        assert world.process.wait(60) != 0
        until(lambda: not any(map(is_running, followers)), 5.0)


def test_without_torchrun_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", RANK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "start the ranks with torchrun" in done.stderr
