"""Starts workers as their users do: a process with a port, ended by a signal."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

FAKE = Path(__file__).with_name("fake_engine.py")
Starter = Callable[..., "RunningWorker"]


@dataclass
class RunningWorker:
    process: subprocess.Popen[str]
    url: str
    log: Path

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=30, **more)

    def put(self, path: str, body: Any, **more: Any) -> requests.Response:
        return requests.put(f"{self.url}{path}", json=body, timeout=30, **more)

    def post(self, path: str, body: Any, **more: Any) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=body, timeout=30, **more)

    def complete(self, prompt: str = "hello ", **fields: Any) -> requests.Response:
        return self.post("/v1/completions", {"prompt": prompt} | fields)

    def exposures(self) -> list[dict[str, Any]]:
        return self.log_of("exposures")

    def steps(self) -> list[dict[str, Any]]:
        return self.log_of("steps")

    def log_of(self, name: str) -> list[dict[str, Any]]:
        """All records of a log, page by page."""
        found: list[dict[str, Any]] = []
        while page := self.get(f"/admin/{name}?after={len(found)}").json()[name]:
            found += page
        return found

    def until(self, holds: Callable[[], bool], within_s: float = 20.0) -> None:
        end = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)

    def ready(self) -> bool:
        return self.get("/health").status_code == 200

    @property
    def engine_pid(self) -> int:
        return self.engine_pids()[0]

    def engine_pids(self) -> list[int]:
        return [pid for pid in self.child_pids() if "spawn_main" in command_of(pid)]

    def child_pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_running(pid: int) -> bool:
    """A process that ended but was not waited for has no command line."""
    return command_of(pid) != ""


@pytest.fixture(scope="session")
def running() -> Callable[[int], bool]:
    return is_running


def start(command: list[str], log: Path, *, wait_ready: bool) -> RunningWorker:
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.stdout.close()
    if not line:
        process.wait(timeout=30)
        return RunningWorker(process, "", log)
    told = json.loads(line)
    assert told["event"] == "listening"
    worker = RunningWorker(process, f"http://127.0.0.1:{told['port']}", log)
    if wait_ready:
        worker.until(worker.ready, within_s=120.0)
    return worker


@pytest.fixture
def start_fake(tmp_path: Path) -> Iterator[Starter]:
    """Starts a worker with the fake engine; keyword arguments are its options."""
    started: list[RunningWorker] = []

    def start_one(*, wait_ready: bool = True, **options: Any) -> RunningWorker:
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        log = tmp_path / f"worker{len(started)}.log"
        command = [sys.executable, str(FAKE), str(tmp_path / "fake-model"), *flags]
        started.append(start(command, log, wait_ready=wait_ready))
        return started[-1]

    yield start_one
    for worker in started:
        stop_by_force(worker)


@pytest.fixture
def start_real(tmp_path: Path) -> Iterator[Starter]:
    """Starts `python -m autotuner.worker` with the packaged model."""
    started: list[RunningWorker] = []

    def start_one(*flags: str, wait_ready: bool = True) -> RunningWorker:
        command = [sys.executable, "-m", "autotuner.worker", "--port=0", *flags]
        log = tmp_path / f"worker{len(started)}.log"
        started.append(start(command, log, wait_ready=wait_ready))
        return started[-1]

    yield start_one
    for worker in started:
        stop_by_force(worker)


def stop_by_force(worker: RunningWorker) -> None:
    if worker.process.poll() is None:
        worker.process.kill()
        worker.process.wait()
