"""The newcomer's path: the page's commands, word for word, in a fresh folder, as one shell session.

Proven here: each command works as it stands; the simulated day has an accepted change that the
page's SQL prints; the real worker, load and daemon come up with what `init` wrote, `doctor` finds
nothing that fails, and the daemon decides and writes it down. Not waited for: the live verdict,
whose time is the machine's and the traffic's (the live study of A/B tests covers it).
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.model]

PAGE = Path(__file__).parents[3] / "docs" / "getting-started.md"
BLOCK = re.compile(r"^```bash newcomer\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = (8000, 9187)
LIMIT_S = 400.0  # it takes about two minutes on two free cores


def blocks() -> list[str]:
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


@dataclass
class Shell:
    """One bash that is fed block by block, as a person pastes them."""

    process: subprocess.Popen[str]
    folder: Path
    ends_at: float
    count: int = 0

    def paste(self, block: str) -> None:
        """Runs the block; fails with what was printed where a command of it fails."""
        assert self.process.stdin is not None
        self.count += 1
        mark = self.folder / f".done-{self.count}"
        lines = [line for line in block.splitlines() if line.strip()]
        for line in lines:
            # A job in the background has no status to wait for.
            keep = "" if line.rstrip().endswith("&") else f" || echo {self.count} >> .failed"
            self.process.stdin.write(f"{line}{keep}\n")
        self.process.stdin.write(f"touch {mark.name}\n")
        self.process.stdin.flush()
        while not mark.exists():
            assert time.monotonic() < self.ends_at, f"{block}\n{self.printed()}"
            assert self.process.poll() is None, self.printed()
            time.sleep(0.1)
        assert not (self.folder / ".failed").exists(), f"{block}\n{self.printed()}"

    def printed(self) -> str:
        logs = [self.folder / name for name in ("session.log", "worker.log", "daemon.log")]
        return "\n".join(f"== {log.name}\n{log.read_text()}" for log in logs if log.exists())


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    installed = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": installed, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    environment.pop("AUTOTUNER_CONFIG", None)
    with (tmp_path / "session.log").open("w") as log:
        process = subprocess.Popen(
            ["bash"],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            yield Shell(process, tmp_path, time.monotonic() + LIMIT_S)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            assert process.stdin is not None
            process.stdin.close()
            _end(process, 30.0)


def _end(shell: subprocess.Popen[str], limit_s: float) -> None:
    """Waits for the session's processes, and kills what is left."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        shell.poll()  # a shell that has ended counts as there until it was asked
        try:
            os.killpg(shell.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()


def _taken(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_the_page_has_the_whole_path() -> None:
    commands = "".join(blocks())
    for word in ("simulate", "worker", "init", "load", "doctor", "run", "sqlite3"):
        assert word in commands


@pytest.mark.timeout(480)
def test_the_page_works_word_for_word(shell: Shell) -> None:
    for port in PORTS:
        if _taken(port):
            pytest.skip(f"port {port}, which the page uses, is taken on this machine")
    *before, last = blocks()
    for block in before:
        shell.paste(block)
    accepted = _rows(
        shell.folder / "simulated.sqlite3", "SELECT confidence FROM v_accepted_changes"
    )
    assert accepted
    assert min(confidence for (confidence,) in accepted) >= 0.95
    history = shell.folder / "autotuner.sqlite3"
    decided = "SELECT action, reason FROM decisions"
    while not (history.exists() and _rows(history, decided)):
        assert time.monotonic() < shell.ends_at, shell.printed()
        time.sleep(0.5)
    shell.paste(last)
    printed = (shell.folder / "session.log").read_text()
    assert "settings_after" in printed
    assert "decided_at" in printed
    assert ", 0 fail" in printed


def _rows(path: Path, query: str) -> list[tuple[float, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as history:
            return history.execute(query).fetchall()
    except sqlite3.OperationalError:  # its tables are being made
        return []
