"""Groups behind a real engine process: ranks that are killed, and what is left afterwards."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.engine_process import run_engine
from autotuner.worker.messages import (
    AddRequest,
    EngineFailed,
    EngineReady,
    ScoreOutput,
    ScoreRequest,
    Shutdown,
    StepOutput,
)
from tests.integration.worker_engine.engine_help import greedy
from tests.integration.worker_parallel.groups import (
    followers_of,
    is_running,
    options_of,
    until,
)

pytestmark = pytest.mark.process

NOTICE_S = 5.0
WAIT_S = 60.0


@dataclass
class Running:
    conn: Connection
    process: BaseProcess

    def receive(self, within_s: float = WAIT_S) -> Any:
        assert self.conn.poll(within_s), "the engine said nothing"
        return self.conn.recv()

    def receive_until(self, kind: type, within_s: float = WAIT_S) -> Any:
        end = time.monotonic() + within_s
        while not isinstance(message := self.receive(end - time.monotonic()), kind):
            pass
        return message

    def followers(self, count: int) -> list[int]:
        assert self.process.pid is not None
        followers = followers_of(self.process.pid)
        assert len(followers) == count
        return followers

    def is_waiting(self, pid: int) -> bool:
        """Whether it used less than a tenth of a core in the last while."""
        before = cpu_s(pid)
        time.sleep(0.5)
        return cpu_s(pid) - before < 0.05


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def started(options: EngineOptions) -> Iterator[Running]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run_engine, args=(theirs, options))
    process.start()
    theirs.close()
    running = Running(ours, process)
    try:
        assert isinstance(running.receive(), EngineReady)
        yield running
    finally:
        process.kill()
        process.join()
        ours.close()


def request(name: str, max_tokens: int) -> AddRequest:
    return AddRequest(name, [3, 4, 5], greedy(max_tokens), time.time())


def test_a_group_serves_scores_waits_quietly_and_ends_in_order(tiny: Path) -> None:
    with started(options_of(tiny, 2, 1)) as engine:
        (follower,) = engine.followers(1)
        engine.conn.send(request("a", 4))
        while not (step := engine.receive_until(StepOutput)).tokens[-1].finish:
            assert step.running == 1
        engine.conn.send(ScoreRequest("s", [3, 4, 5, 6], first=1))
        assert len(engine.receive_until(ScoreOutput).log_probs) == 3
        engine.conn.send(ScoreRequest("t", [3, 999], first=1))
        assert engine.receive_until(ScoreOutput).error
        assert engine.is_waiting(follower)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(follower, number)
        engine.conn.send(request("b", 2))
        engine.receive_until(StepOutput)
        engine.conn.send(Shutdown())
        engine.process.join(WAIT_S)
        assert engine.process.exitcode == 0
        assert not is_running(follower)


@pytest.mark.parametrize(
    ("tensor", "stages", "victim", "busy"),
    [(2, 1, 0, True), (3, 1, 1, False), (1, 3, 0, True), (1, 3, 1, True), (2, 2, 2, False)],
)
def test_a_killed_follower_is_told_and_takes_all_down(
    tiny: Path, tensor: int, stages: int, victim: int, busy: bool
) -> None:
    with started(options_of(tiny, tensor, stages)) as engine:
        followers = engine.followers(tensor * stages - 1)
        if busy:
            engine.conn.send(request("a", 250))
            engine.receive_until(StepOutput)
        os.kill(followers[victim], signal.SIGKILL)
        failed = engine.receive_until(EngineFailed, NOTICE_S)
        assert "rank " in failed.reason
        engine.process.join(NOTICE_S)
        assert engine.process.exitcode is not None
        until(lambda: not any(map(is_running, followers)), NOTICE_S)


def test_a_follower_that_hangs_does_not_outlive_the_leader(tiny: Path) -> None:
    with started(options_of(tiny, 2, 1)) as engine:
        (follower,) = engine.followers(1)
        os.kill(follower, signal.SIGSTOP)
        engine.conn.send(Shutdown())
        engine.process.join(WAIT_S)
        assert engine.process.exitcode == 0
        assert not is_running(follower)


@pytest.mark.parametrize("end", ["kill", "close"])
@pytest.mark.parametrize("busy", [False, True])
def test_nothing_outlives_a_leader_that_is_gone(tiny: Path, end: str, busy: bool) -> None:
    with started(options_of(tiny, 2, 1)) as engine:
        followers = engine.followers(1)
        if busy:
            engine.conn.send(request("a", 250))
            engine.receive_until(StepOutput)
        ends: dict[str, Callable[[], None]] = {
            "kill": engine.process.kill,
            "close": engine.conn.close,
        }
        ends[end]()
        engine.process.join(WAIT_S)
        until(lambda: not any(map(is_running, followers)), NOTICE_S)


def test_a_step_that_fails_on_the_leader_is_told_with_its_own_reason(tmp_path: Path) -> None:
    import json

    from tests.integration.worker_parallel.groups import tiny_model

    folder = tiny_model(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 1000}))
    with started(options_of(folder, 1, 2)) as engine:
        followers = engine.followers(1)
        engine.conn.send(AddRequest("a", [999], greedy(1), time.time()))
        failed = engine.receive_until(EngineFailed)
        assert "IndexError" in failed.reason
        engine.process.join(WAIT_S)
        until(lambda: not any(map(is_running, followers)), NOTICE_S)
