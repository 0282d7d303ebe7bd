"""Finds Prometheus and its kin, starts them, and ends them."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tests.integration.daemon.processes import until

DEPLOY = Path(__file__).parents[3] / "deploy"


def found(*names: str) -> str:
    """The path of the first of these programs that is there; the test is skipped without one."""
    for name in names:
        program = shutil.which(name)
        if program is not None:
            return program
    pytest.skip(f"{names[0]} is not installed: run deploy/test-tools")


def checked(program: str, *words: str, folder: Path | None = None) -> str:
    """What the program told; fails the test with it unless it ended well."""
    ended = subprocess.run(
        [found(program), *words], cwd=folder, capture_output=True, text=True, timeout=120
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    return told


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """One program that listens on a port of this machine. `words` are its arguments beyond that."""

    names: tuple[str, ...]
    folder: Path
    words: tuple[str, ...]
    ready: str = "/-/ready"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def get(self, path: str, **query: str) -> requests.Response:
        return requests.get(f"http://{self.address}{path}", params=query, timeout=10)

    def start(self) -> None:
        """Starts it and waits until it serves."""
        program = found(*self.names)
        listening = f"--web.listen-address={self.address}"
        with (self.folder / f"{self.names[0]}.log").open("a") as log:
            self.process = subprocess.Popen(
                [program, listening, *self.words],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                text=True,
            )
        until(self._serves)

    def _serves(self) -> bool:
        assert self.process is not None
        log = self.folder / f"{self.names[0]}.log"
        assert self.process.poll() is None, log.read_text()
        return self.get(self.ready).ok

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None


PROMETHEUS = ("prometheus",)
ALERTMANAGER = ("prometheus-alertmanager", "alertmanager")
NODE_EXPORTER = ("prometheus-node-exporter", "node_exporter")
