"""A real proxy process in front of fake servers: its configuration, its life, its admin front."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.integration.servers.fake_process import ROOT, command, free_port

FIRST = {
    "vllm": {"max_num_seqs": 2, "max_num_batched_tokens": 2048},
    "sglang": {"max_running_requests": 2, "chunked_prefill_size": 8192},
}


@dataclass
class Front:
    """`engine` is laid over the usual configuration of the engine; a `scene` is the server's."""

    folder: Path
    kind: str = "vllm"
    mode: str = "blue_green"
    settings: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    drain_s: float = 60
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = [free_port(), free_port()]
        self.scene()
        launcher: dict[str, Any] = {
            "kind": "command",
            "command": command(self.kind, self.folder / "scene.json"),
            "ports": ports if self.mode == "blue_green" else ports[:1],
            "environment": {"PYTHONPATH": str(ROOT)},
            "stop_s": 2,
        }
        engine: dict[str, Any] = {
            "kind": self.kind,
            "mode": self.mode,
            "launcher": launcher,
            "settings": {**FIRST[self.kind], **self.settings},
            "state_dir": str(self.folder / "state"),
            "ready_s": 20,
            "healthy_s": 120,
            "hung_s": 2,
            "warm_up": {"requests": 1, "long_prompt_tokens": 2, "max_tokens": 2, "limit_s": 5},
        }
        own = self.engine.get("launcher", {})
        engine |= self.engine | {"launcher": own if "kind" in own else launcher | own}
        told = {"listen": {"port": self.port}, "engine": engine, "drain_s": self.drain_s}
        (self.folder / "proxy.yaml").write_text(yaml.safe_dump(told))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def scene(self, *rules: Mapping[str, Any], slower: float = 1.0, start_s: float = 0.0) -> None:
        """How the servers behave from now on; written whole, for they may read at any moment."""
        told = {"slower": slower, "start_s": start_s, "rules": list(rules)}
        fresh = self.folder / "scene.new"
        fresh.write_text(json.dumps(told))
        fresh.replace(self.folder / "scene.json")

    def start(self) -> None:
        words = [sys.executable, "-m", "autotuner", "proxy", "-c", str(self.folder / "proxy.yaml")]
        with (self.folder / "proxy.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)

    def serving(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def wait_serving(self, within_s: float = 60.0) -> None:
        """A proxy that has ended, say for its configuration, is not waited for."""
        process = self.process
        assert process is not None
        until(lambda: self.serving() or process.poll() is not None, self.told, within_s)
        assert process.poll() is None, self.told()

    def kill(self) -> None:
        """kill -9: what it started may live on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """As a service manager ends it; by force after a while."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def body(self) -> dict[str, Any]:
        told: dict[str, Any] = requests.get(f"{self.url}/admin/settings", timeout=10).json()
        return told

    def runs(self, knob: str = "max_num_seqs") -> Any:
        """The value in force; None while there is no answer."""
        try:
            return self.body()["settings"][knob]
        except (requests.RequestException, LookupError, ValueError):
            return None

    def put(self, **settings: Any) -> requests.Response:
        """What a person does with curl."""
        body = {"generation": self.body()["generation"], "settings": settings}
        return requests.put(f"{self.url}/admin/settings", json=body, timeout=60)

    def pids(self) -> list[int]:
        """The fake servers of this front, by their scene."""
        wanted = str(self.folder / "scene.json").encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if f"--scene={wanted.decode()}".encode() in words and b"-I" not in words:
                found.append(int(path.parent.name))
        return found

    def wait_single(self) -> None:
        """Until one server is left: a change that is over leaves nothing behind."""
        until(lambda: len(self.pids()) == 1, self.told)

    def told(self) -> str:
        """The logs, for whoever has to find out why a test failed."""
        logs = [self.folder / "proxy.log", *sorted((self.folder / "state").rglob("*.log"))]
        return "\n".join(f"{log}: {log.read_text()[-3000:]}" for log in logs if log.exists())


def until(holds: Callable[[], bool], why: Callable[[], str], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, why()
        time.sleep(0.05)
