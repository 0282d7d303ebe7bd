"""Two daemons that share a PostgreSQL history and one worker, as real processes."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import requests
import yaml

from autotuner.history.store import History, open_history
from tests.integration.daemon.processes import Rig

CHECK_S = 0.5


@dataclass
class Member:
    """One daemon's process and where it answers."""

    process: subprocess.Popen[str]
    url: str

    def health(self) -> dict[str, Any]:
        assert self.process.poll() is None, "the daemon has ended: see its log"
        found: dict[str, Any] = requests.get(f"{self.url}/health", timeout=5).json()
        return found

    def role(self) -> str:
        return str(self.health()["role"])

    def leader_gauge(self) -> float:
        page = requests.get(f"{self.url}/metrics", timeout=5).text
        [line] = [line for line in page.splitlines() if line.startswith("autotuner_leader ")]
        return float(line.split()[1])


@dataclass
class Cluster(Rig):
    """A rig whose daemons share `database`, a PostgreSQL URL."""

    database: str = ""

    @property
    def history_url(self) -> str:
        return self.database

    def history(self) -> History:
        return open_history(self.database)

    def join(self, name: str) -> Member:
        """Starts one more daemon."""
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(self.policy))
        port = free_port()
        url = self.gate.url if self.gate else self.url
        config = {
            "history": self.database,
            "targets": [{"name": "t", "url": url, "policy": str(self.folder / "policy.yaml")}],
            "cycle_s": 0.2,
            "listen": {"port": port},
            "leader": {"check_s": CHECK_S},
            "state_folder": str(self.folder / f"state-{name}"),
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        words = [sys.executable, "-m", "autotuner", "run", "--config", str(path)]
        return Member(self._start(name, words), f"http://127.0.0.1:{port}")


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port
