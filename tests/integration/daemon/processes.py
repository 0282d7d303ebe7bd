"""Real processes for the kill tests: a worker with a fake engine, open-loop load, the daemon."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from autotuner.domain.experiment import Experiment
from autotuner.history.store import History, open_history
from tests.integration.daemon.gate import Gate

FAKE_ENGINE = Path(__file__).parents[1] / "worker_front" / "fake_engine.py"
POLICY: dict[str, Any] = {
    "name": "kill-test",
    "slo": {"ttft_s": 0.3},
    "knobs": {"max_num_seqs": {"levels": [2, 32]}},
    "experiment": {
        "slot_s": 1.5, "washout_min_s": 0.3, "washout_max_s": 3, "cooldown_s": 0.4,
        "max_pairs": 20, "min_requests_per_slot": 3,
    },
    "proposer": {
        "kind": "hill-climb", "observe_s": 2, "min_requests": 10, "goal_attainment": 0.98,
        "pause_s": 5, "retry_s": 1,
    },
}  # fmt: skip


@dataclass
class Rig:
    """Everything that a kill test starts; `close` ends it all by force.

    `step_s`: how long the fake engine takes for a step. `first_seqs`: its first max_num_seqs.
    """

    folder: Path
    receiver: str | None = None
    policy: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(POLICY))
    step_s: float = 0.005
    first_seqs: int = 2
    gate: Gate | None = None
    children: list[subprocess.Popen[str]] = field(default_factory=list)
    port: int = 0

    def start_worker(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(FAKE_ENGINE), str(self.folder / "model")]
        command += [f"--max-num-seqs={self.first_seqs}", f"--step-s={self.step_s}"]
        command += [f"--port={self.port}"]
        worker = self._start("worker", command, stdout=subprocess.PIPE)
        assert worker.stdout is not None
        self.port = json.loads(worker.stdout.readline())["port"]
        worker.stdout.close()
        until(lambda: requests.get(f"{self.url}/health", timeout=5).ok)
        return worker

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_load(self, seconds: float = 400, arrivals: str = "poisson") -> None:
        words = ["load", "--url", self.url, "--rate", "12", "--duration-s", str(seconds)]
        words += ["--mix", "short", "--arrivals", arrivals]
        self._start("load", [sys.executable, "-m", "autotuner", *words])

    def raise_gate(self, holding: str, after_effect: bool) -> Gate:
        """From now on a daemon reaches the worker through a gate."""
        self.gate = Gate(self.url, holding, after_effect)
        return self.gate

    def start_daemon(self) -> subprocess.Popen[str]:
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(self.policy))
        url = self.gate.url if self.gate else self.url
        config = {
            "history": self.history_url,
            "targets": [{"name": "t", "url": url, "policy": str(self.folder / "policy.yaml")}],
            "cycle_s": 0.2,
            "listen": {"port": 0},
        }
        if self.receiver:
            config["webhooks"] = [{"name": "test", "url": self.receiver}]
        path = self.folder / "autotuner.yaml"
        path.write_text(yaml.safe_dump(config))
        words = [sys.executable, "-m", "autotuner", "run", "--config", str(path)]
        return self._start("daemon", words)

    @property
    def history_url(self) -> str:
        return f"sqlite:///{self.folder / 'history.sqlite3'}"

    def history(self) -> History:
        return open_history(self.history_url)

    def live(self) -> dict[str, object]:
        settings: dict[str, object] = requests.get(f"{self.url}/admin/settings", timeout=10).json()[
            "settings"
        ]
        return settings

    def close(self) -> None:
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            child.wait()
        if self.gate:
            self.gate.close()

    def _start(
        self, name: str, command: list[str], stdout: int | None = None
    ) -> subprocess.Popen[str]:
        with (self.folder / f"{name}.log").open("a") as log:
            child = subprocess.Popen(
                command, stdout=stdout if stdout is not None else log, stderr=log, text=True
            )
        self.children.append(child)
        return child


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def kill_in_test(
    daemon: subprocess.Popen[str], history: History, wanted: Callable[[Experiment], bool]
) -> Experiment:
    """Kills the daemon while its test is as `wanted`; returns the test as it was left.

    The daemon is stopped for the second look, so that it can't move on before the kill.
    """

    def caught() -> bool:
        if not _is(history, wanted):
            return False
        daemon.send_signal(signal.SIGSTOP)
        if _is(history, wanted):
            return True
        daemon.send_signal(signal.SIGCONT)
        return False

    until(caught, within_s=200)
    kill(daemon)
    [left] = history.open_experiments("t")
    return left


def _is(history: History, wanted: Callable[[Experiment], bool]) -> bool:
    tests = history.open_experiments("t")
    return bool(tests) and wanted(tests[-1])


def until(holds: Callable[[], bool], within_s: float = 120.0) -> None:
    """Waits for a condition; a connection refused meanwhile is no answer yet."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if holds():
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{holds} did not come to hold within {within_s:g} s")
