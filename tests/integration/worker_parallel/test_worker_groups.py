"""The whole worker on one machine, with groups that are rebuilt and lose ranks."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.worker_parallel.groups import followers_of, is_running, until
from tests.integration.worker_parallel.served import READY_S, ServedWorker, serving

pytestmark = pytest.mark.process


@pytest.fixture
def worker(served: Path, tmp_path: Path) -> Iterator[ServedWorker]:
    command = [sys.executable, "-m", "autotuner.worker", "--port=0", f"--model={served}"]
    command += ["--kv-cache-gib=0.05", "--max-ranks=3"]
    with serving(ServedWorker, command, tmp_path / "log") as running:
        yield running


def ranks_of(worker: ServedWorker) -> list[int]:
    """The engine, which leads, and its followers."""
    return [
        pid
        for engine in followers_of(worker.process.pid)
        for pid in (engine, *followers_of(engine))
    ]


def test_sizes_change_live_and_a_lost_rank_comes_back(worker: ServedWorker) -> None:
    text = worker.complete()
    assert worker.put(tensor_parallel_size=3)["tensor_parallel_size"] == 3
    assert worker.complete() == text
    until(lambda: len(ranks_of(worker)) == 3, 20.0)
    engine, *followers = ranks_of(worker)
    os.kill(followers[0], signal.SIGKILL)
    until(lambda: not any(map(is_running, [engine, *followers])), 10.0)
    until(worker.is_healthy, READY_S)
    assert worker.complete() == text
    assert worker.put(tensor_parallel_size=1, pipeline_parallel_size=2)["tensor_parallel_size"] == 1
    assert worker.complete() == text
    until(lambda: len(ranks_of(worker)) == 2, 20.0)
    left = ranks_of(worker)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    until(lambda: not any(map(is_running, left)), 5.0)
