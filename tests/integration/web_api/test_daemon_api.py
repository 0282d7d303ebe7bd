"""A real daemon on a real socket: who comes in, what a wish does to it, and what is kept of it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from typer.testing import CliRunner

from autotuner.cli import app
from autotuner.history.store import History, open_history
from tests.integration.alerts.receiver import free_port
from tests.integration.daemon.processes import until

pytestmark = pytest.mark.process


@dataclass
class Machine:
    """A folder with a configuration; its target does not answer, which the daemon bears."""

    folder: Path
    port: int = field(default_factory=free_port)
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def configure(self, **listen: Any) -> Path:
        path = self.folder / "autotuner.yaml"
        told = {
            "history": self.history_url,
            "targets": [{"name": "chat", "url": "http://127.0.0.1:9", "timeout_s": 0.2}],
            "cycle_s": 0.2,
            "listen": {"port": self.port, **listen},
            "log": {"format": "json"},
        }
        path.write_text(yaml.safe_dump(told))
        return path

    @property
    def history_url(self) -> str:
        return f"sqlite:///{self.folder / 'h.sqlite3'}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def run(self, config: Path) -> subprocess.CompletedProcess[str]:
        """A daemon that is expected to refuse."""
        words = [sys.executable, "-m", "autotuner", "run", "-c", str(config)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def token(self, *words: str) -> str:
        made = CliRunner().invoke(app, ["token", *words])
        assert made.exit_code == 0, made.output
        return made.stdout.strip()

    def start(self, config: Path) -> subprocess.Popen[str]:
        with (self.folder / "log").open("a") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "autotuner", "run", "-c", str(config)],
                stdout=log, stderr=log, text=True,
            )  # fmt: skip
        self.children.append(child)
        return child

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            child.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-out", str(cert), "-keyout", str(key)]
    subprocess.run(words, check=True, capture_output=True)
    return cert, key


def taken(history: History) -> list[str]:
    """The wishes that the daemon has taken, newest first."""
    return [one.what.value for one in history.controls() if not one.waits]


def test_tokens_tls_a_wish_and_what_is_kept_of_it(machine: Machine) -> None:
    cert, key = certificate(machine.folder)
    config = machine.configure(
        host="localhost", tokens_file=str(machine.folder / "tokens"), tls_cert=str(cert),
        tls_key=str(key),
    )  # fmt: skip
    tokens = {}
    for name, role in (("ana", "operator"), ("vic", "viewer")):
        made = machine.token("new", "--name", name, "--role", role, "-c", str(config))
        tokens[name] = {"Authorization": f"Bearer {made}"}
    daemon = machine.start(config)
    base = f"https://localhost:{machine.port}"
    web = requests.Session()
    web.verify, web.trust_env = str(cert), False
    until(lambda: web.get(f"{base}/health", timeout=5).status_code in (200, 503))
    history = open_history(machine.history_url)
    until(lambda: history.status("chat").heartbeat is not None)

    pause = f"{base}/api/v1/targets/chat/pause"
    assert web.get(f"{base}/api/v1/fleet", timeout=5).status_code == 401
    assert web.post(pause, timeout=5).status_code == 401
    assert web.post(pause, headers=tokens["vic"], timeout=5).status_code == 403
    assert history.controls() == []
    fleet = web.get(f"{base}/api/v1/fleet", headers=tokens["vic"], timeout=5).json()
    assert [one["name"] for one in fleet["targets"]] == ["chat"]
    with pytest.raises(requests.RequestException):
        requests.get(f"http://localhost:{machine.port}/health", timeout=5)  # no TLS, no answer

    answer = web.post(pause, headers=tokens["ana"], json={"note": "node 7"}, timeout=5)
    assert answer.status_code == 202
    until(lambda: taken(history) == ["pause"])
    [kept] = web.get(f"{base}/api/v1/actions", headers=tokens["vic"], timeout=5).json()["items"]
    assert kept["who"] in ("ana@127.0.0.1", "ana@::1")
    assert (kept["what"], kept["note"]) == ("pause", "node 7")
    assert kept["taken_at"] >= kept["asked_at"]

    login = web.post(
        f"{base}/login", data={"token": tokens["ana"]["Authorization"][7:]},
        headers={"Origin": base}, timeout=5, allow_redirects=False,
    )  # fmt: skip
    assert login.status_code == 303
    resume = f"{base}/api/v1/targets/chat/resume"
    assert (
        web.post(resume, headers={"Origin": "https://evil.example"}, timeout=5).status_code == 403
    )
    assert web.post(resume, headers={"Origin": base}, timeout=5).status_code == 202
    until(lambda: taken(history) == ["resume", "pause"])

    machine.token("revoke", "--name", "ana", "-c", str(config))
    assert web.post(pause, headers={"Origin": base}, timeout=5).status_code == 401
    assert web.post(pause, headers=tokens["ana"], timeout=5).status_code == 401
    history.close()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=120) == 0
    told = [json.loads(line) for line in machine.log.splitlines() if line.startswith("{")]
    acted = [one for one in told if one.get("event") == "action"]
    assert [(one["what"], one["who"].split("@")[0]) for one in acted] == [
        ("pause", "ana"), ("resume", "ana"),
    ]  # fmt: skip
    for shown in tokens.values():
        assert shown["Authorization"][11:] not in machine.log


def test_a_daemon_without_its_tokens_does_not_start(machine: Machine) -> None:
    config = machine.configure(host="0.0.0.0", tokens_file=str(machine.folder / "tokens"))
    refused = machine.run(config)
    assert refused.returncode == 2
    assert "autotuner token new" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_address_that_is_taken_and_a_bad_certificate_are_told(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", machine.port)):
        refused = machine.run(machine.configure())
    assert refused.returncode == 2
    assert f"port={machine.port}" in refused.stderr
    cert, key = certificate(machine.folder)
    key.write_text("no key")
    refused = machine.run(machine.configure(tls_cert=str(cert), tls_key=str(key)))
    assert refused.returncode == 2
    assert "listen.tls_cert" in refused.stderr
