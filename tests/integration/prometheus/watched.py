"""A worker, its load and a daemon that an Alertmanager may speak to."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autotuner.domain.mode import Mode
from autotuner.history.records import Heartbeat
from autotuner.history.store import History
from tests.integration.daemon.processes import POLICY, Rig
from tests.integration.prometheus.stack import Stack
from tests.integration.prometheus.tools import free_port

TARGET = "t"
TOKEN = "a-token-that-only-this-test-knows"


@dataclass
class WatchedRig(Rig):
    """The rig of the kill tests, with a daemon on a port that is known before it starts."""

    policy: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(POLICY))
    listen: int = field(default_factory=free_port)
    metrics: dict[str, Any] = field(default_factory=dict)
    mode: Mode = Mode.ACTIVE

    @property
    def token_file(self) -> Path:
        return self.folder / "alertmanager.token"

    @property
    def daemon_address(self) -> str:
        return f"127.0.0.1:{self.listen}"

    @property
    def worker_address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start_daemon(self) -> subprocess.Popen[str]:
        self.token_file.write_text(TOKEN)
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(self.policy))
        path = self.folder / "autotuner.yaml"
        path.write_text(yaml.safe_dump(self.config()))
        return self._start(
            "daemon", [sys.executable, "-m", "autotuner", "run", "--config", str(path)]
        )

    def config(self) -> dict[str, Any]:
        policy = str(self.folder / "policy.yaml")
        target: dict[str, Any] = {"name": TARGET, "url": self.url, "policy": policy}
        target |= {"metrics": self.metrics, "mode": self.mode.value}
        hooks = [{"name": "people", "url": self.receiver}] if self.receiver else []
        return {
            "history": self.history_url,
            "targets": [target],
            "webhooks": hooks,
            "cycle_s": 0.5,
            "listen": {"port": self.listen},
            "alerts_in": {"token_file": str(self.token_file)},
        }


@dataclass
class Watched:
    rig: WatchedRig
    stack: Stack
    history: History

    def mode(self) -> Mode | None:
        """The mode of the daemon's last cycle."""
        beat = self.beat()
        return None if beat is None else beat.mode

    def beat(self) -> Heartbeat | None:
        return self.history.status(TARGET).heartbeat
