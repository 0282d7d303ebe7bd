"""The engine in its own process, as the front drives it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.engine_process import run_engine
from autotuner.worker.messages import (
    AbortRequest,
    AddRequest,
    ApplySettings,
    EngineFailed,
    EngineReady,
    SamplingParams,
    SettingsApplied,
    Shutdown,
    StepOutput,
    TokenOutput,
)
from autotuner.worker.settings import WorkerSettings
from tests.integration.worker_engine.tiny_models import TINY, make_tiny

pytestmark = pytest.mark.process

SPAWN = multiprocessing.get_context("spawn")
WAIT_S = 60.0
FRONT = Path(__file__).with_name("lonely_front.py")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny(TINY["llama"]).save_pretrained(folder)
    return folder


@contextmanager
def started(options: EngineOptions) -> Iterator[tuple[Connection, BaseProcess]]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=run_engine, args=(theirs, options))
    process.start()
    theirs.close()
    try:
        yield ours, process
    finally:
        process.kill()
        process.join()
        ours.close()


def receive(conn: Connection) -> Any:
    assert conn.poll(WAIT_S), "the engine said nothing"
    return conn.recv()


def tokens_until_end(conn: Connection, request_id: str) -> list[TokenOutput]:
    seen: list[TokenOutput] = []
    while not (seen and seen[-1].finish):
        message = receive(conn)
        assert isinstance(message, StepOutput)
        seen += [output for output in message.tokens if output.request_id == request_id]
    return seen


def request(name: str, max_tokens: int = 5) -> AddRequest:
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True)
    return AddRequest(name, [3, 4, 5], sampling, time.time())


def test_it_serves_applies_aborts_and_shuts_down(tiny: Path) -> None:
    with started(EngineOptions(tiny, kv_cache_gib=0.01)) as (conn, process):
        ready = receive(conn)
        assert isinstance(ready, EngineReady)
        assert (ready.model_name, ready.limits.max_model_len) == (tiny.name, 256)
        before = time.time()
        conn.send(request("a"))
        outputs = tokens_until_end(conn, "a")
        assert [o.finish for o in outputs] == [None] * 4 + ["length"]
        assert before - 1 <= (outputs[0].admitted_at or 0.0) <= time.time() + 1
        assert outputs[1].admitted_at is None

        settings = WorkerSettings(max_num_seqs=1, batch_timeout_ms=20)
        conn.send(ApplySettings(settings, 7))
        applied = receive(conn)
        assert isinstance(applied, SettingsApplied)
        assert (applied.settings, applied.generation) == (settings, 7)

        conn.send(request("long", 200))
        step = receive(conn)
        assert (step.generation, step.running, step.prefill_tokens) == (7, 1, 3)
        conn.send(AbortRequest("long"))
        assert tokens_until_end(conn, "long")[-1].finish == "abort"

        conn.send(AddRequest("too long", [1] * 300, SamplingParams(), time.time()))
        (refused,) = tokens_until_end(conn, "too long")
        assert refused.finish == "error"
        assert "max_model_len=256" in str(refused.error)
        conn.send(Shutdown())
        process.join(WAIT_S)
        assert process.exitcode == 0


def test_a_lone_request_is_served_when_its_batch_timeout_ends(tiny: Path) -> None:
    options = EngineOptions(tiny, settings=WorkerSettings(batch_timeout_ms=100))
    with started(options) as (conn, _):
        assert isinstance(receive(conn), EngineReady)
        added = time.time()
        conn.send(request("a"))
        outputs = tokens_until_end(conn, "a")
        assert (outputs[0].admitted_at or 0.0) - added >= 0.09


def test_an_interrupt_is_the_fronts_business(tiny: Path) -> None:
    with started(EngineOptions(tiny)) as (conn, process):
        assert isinstance(receive(conn), EngineReady)
        os.kill(process.pid or 0, signal.SIGINT)
        conn.send(request("a"))
        assert tokens_until_end(conn, "a")[-1].finish == "length"


@pytest.mark.parametrize("busy", [False, True])
def test_it_ends_when_the_front_is_gone(tiny: Path, busy: bool) -> None:
    with started(EngineOptions(tiny)) as (conn, process):
        assert isinstance(receive(conn), EngineReady)
        if busy:
            conn.send(request("a", 250))
            assert isinstance(receive(conn), StepOutput)
        conn.close()
        process.join(WAIT_S)
        assert process.exitcode == 0


def test_it_ends_when_the_front_is_killed(tiny: Path) -> None:
    front = subprocess.Popen(
        [sys.executable, str(FRONT), str(tiny)], stdout=subprocess.PIPE, text=True
    )
    with front:
        assert front.stdout is not None
        engine_pid = int(front.stdout.readline())
        assert _is_alive(engine_pid)
        front.kill()
    deadline = time.monotonic() + WAIT_S
    while _is_alive(engine_pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_alive(engine_pid)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_model_that_does_not_load_is_told(tmp_path: Path) -> None:
    with started(EngineOptions(tmp_path)) as (conn, process):
        failed = receive(conn)
        assert isinstance(failed, EngineFailed)
        assert "no config.json there" in failed.reason
        process.join(WAIT_S)
        assert process.exitcode == 0


def test_a_step_that_fails_is_told(tmp_path: Path) -> None:
    """A vocabulary larger than the weights': the first token beyond them fails the step."""
    make_tiny(TINY["llama"]).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 1000}))
    with started(EngineOptions(tmp_path)) as (conn, process):
        assert isinstance(receive(conn), EngineReady)
        conn.send(AddRequest("a", [999], SamplingParams(), time.time()))
        failed = receive(conn)
        assert isinstance(failed, EngineFailed)
        assert failed.reason.startswith("IndexError: ")
        process.join(WAIT_S)
        assert process.exitcode == 0


def test_a_cache_that_no_memory_holds_is_told(tiny: Path) -> None:
    """Ten slots of a PiB each are more than an address space has."""
    config = json.loads((tiny / "config.json").read_text())
    huge = tiny.parent / "huge"
    shutil.copytree(tiny, huge)
    (huge / "config.json").write_text(
        json.dumps({**config, "head_dim": 8, "max_position_embeddings": 2**24})
    )
    options = EngineOptions(huge, kv_cache_gib=2.0**40, max_model_len=2**24)
    with started(options) as (conn, _):
        failed = receive(conn)
        assert isinstance(failed, EngineFailed)
        assert "memory" in failed.reason
