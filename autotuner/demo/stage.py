"""The demo's processes: each is started in its own session and surely ended, even by a kill."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import requests

from autotuner.demo.tether import tethered
from autotuner.domain.errors import AutotunerError

END_S = 15.0  # chosen: a worker drains within this


class StageError(AutotunerError):
    """A process of the demo did not come up, or ended by itself; the text names its log."""


class Stage:
    """Starts `autotuner …` commands; on leaving it ends them, last started first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not cut the ending short and leave a worker behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for _name, child in reversed(self._children):
            end(child)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(
        self, name: str, arguments: Sequence[str], *, niceness: int = 0
    ) -> subprocess.Popen[bytes]:
        """Starts `autotuner ARGUMENTS` as NAME."""
        return self.launch(name, [sys.executable, "-m", "autotuner", *arguments], niceness)

    def launch(
        self, name: str, command: Sequence[str], niceness: int = 0
    ) -> subprocess.Popen[bytes]:
        """Starts a command as NAME; what it prints goes to NAME.log in the folder.

        A session of its own keeps the terminal's Ctrl-C away: the demo ends it in order. Where
        the demo can't, because it was killed, the tether does.
        """
        log = (self.folder / f"{name}.log").open("ab")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        child = subprocess.Popen(  # noqa: S603 - our own commands with our own words
            tethered(command, niceness),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if name == "worker" else log,
            stderr=log,
            start_new_session=True,
            env=environment,
        )
        log.close()
        self._children.append((name, child))
        return child

    def start_worker(self, arguments: Sequence[str], limit_s: float) -> str:
        """Starts a worker on a free port, waits until it serves, and returns its URL."""
        child = self.start("worker", ["worker", "--port", "0", *arguments])
        deadline = time.monotonic() + limit_s
        url = f"http://127.0.0.1:{_read_port(child, deadline)}"
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{url}/health", timeout=2).ok:
                    return url
            time.sleep(0.2)
        raise StageError(
            f"the worker did not serve within {limit_s:.0f} s: see {self._log('worker')}"
        )

    def pid_of(self, name: str) -> int:
        """The process id of what was started as NAME."""
        return next(child.pid for started, child in self._children if started == name)

    def check(self, *, finished_is_fine: frozenset[str] = frozenset()) -> None:
        """Raises StageError when a process has ended by itself."""
        for name, child in self._children:
            code = child.poll()
            if code is not None and not (code == 0 and name in finished_is_fine):
                raise StageError(f"the {name} ended with status {code}: see {self._log(name)}")

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def end(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM and patience, then SIGKILL, to the child's whole session."""
    if child.poll() is None:
        _signal(child, signal.SIGTERM)
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)
            child.wait()
    if child.stdout:
        child.stdout.close()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if number is signal.SIGTERM:
            child.send_signal(number)  # the front ends its engine itself
        else:
            os.killpg(child.pid, number)


def _read_port(child: subprocess.Popen[bytes], deadline: float) -> int:
    """The port from the line `{"event": "listening", "port": …}`."""
    assert child.stdout is not None, "the worker is started with a pipe"
    while time.monotonic() < deadline:
        ready, _, _ = select.select([child.stdout], [], [], 0.5)
        line = child.stdout.readline() if ready else b""
        if not line and child.poll() is not None:
            break
        with contextlib.suppress(ValueError, TypeError):
            told = json.loads(line)
            if told.get("event") == "listening":
                return int(told["port"])
    raise StageError("the worker never said which port it listens on: see worker.log")
