"""Sources and proxies as real processes: started, pinned to a core, watched, restarted, ended.

A listening socket can be held here and handed to one proxy after the other, as systemd does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 60
# What systemd does between fork and exec (sd_listen_fds(3)).
_HAND_OVER = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])\n"
)


@dataclass
class Running:
    """A process of ours that listens on `port`."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """Processor time so far, of the kernel for it included."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def ask_to_end(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        """Asks to end, waits, returns the exit status; kills what does not end."""
        if self.process.poll() is None:
            self.ask_to_end()
        with self.process:  # which closes its output
            try:
                return self.process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                return self.process.wait()


@contextlib.contextmanager
def source(cores: set[int]) -> Iterator[Running]:
    running = _started(["-m", "experiments.studies.proxy_overhead.source"], cores)
    try:
        yield running
    finally:
        running.end()


def start_proxy(file: Path, cores: set[int], held: socket.socket | None = None) -> Running:
    """A proxy by its configuration; `held`: the listening socket that it is handed."""
    return _started(["-m", "autotuner", "proxy", "--config", str(file)], cores, held)


@contextlib.contextmanager
def proxy(file: Path, cores: set[int]) -> Iterator[Running]:
    running = start_proxy(file, cores)
    try:
        yield running
    finally:
        running.end()


def hold_socket() -> socket.socket:
    """A listening socket as a service manager keeps it."""
    held = socket.create_server(("127.0.0.1", 0), backlog=4096)
    held.set_inheritable(True)
    return held


def write_config(file: Path, urls: Sequence[str], **more: Any) -> Path:
    """A configuration with these backends, replaced as a whole; `weights`: one for each."""
    weights = more.pop("weights", [1.0] * len(urls))
    backends = [{"url": u, "weight": w} for u, w in zip(urls, weights, strict=True)]
    told = {"listen": {"port": 0}, "backends": backends, "log": {"level": "warning"}} | more
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump(told), encoding="utf-8")
    return new.replace(file)


def _started(words: Sequence[str], cores: set[int], held: socket.socket | None = None) -> Running:
    command = [sys.executable, *words]
    if held is not None:
        command = [sys.executable, "-c", _HAND_OVER, str(held.fileno()), *words]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=() if held is None else (held.fileno(),),
    )
    os.sched_setaffinity(process.pid, cores)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        with process:
            status = process.wait()
        raise RuntimeError(f"{' '.join(words)}: ended with {status} before it listened")
    return Running(process, int(json.loads(line)["port"]))
