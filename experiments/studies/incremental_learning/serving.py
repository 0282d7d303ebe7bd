"""The service that learns: a real worker, load on it, and the daemon, each a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml

from autotuner.demo.stage import Stage
from autotuner.domain.fine_tuning import FineTune
from autotuner.domain.fine_tuning import Stage as Step
from autotuner.history.store import History

TARGET = "chat"
HELD_OUT = 0.2
PAUSE_S = 1.0  # light, since a core is shared with probes and with engines that start
POLICY: dict[str, Any] = {
    "name": "incremental-learning",
    "slo": {"ttft_s": 10.0},
    "knobs": {
        "max_num_seqs": {"levels": [32]},
        "weights": {"levels": ["base"], "open": True, "live": False, "changes_answers": True},
    },
    "experiment": {
        "slot_s": 30, "washout_min_s": 1, "washout_max_s": 15, "cooldown_s": 3, "max_pairs": 30,
        "min_requests_per_slot": 3, "tail_factor": 10.0,
        "guardrails": [{"measure": "error_share", "margin": 0.1, "prior_sd": 0.02}],
    },
    "goal": {"attainment": 0.1},
    "proposer": {
        "kind": "hill-climb", "observe_s": 60, "min_requests": 5, "pause_s": 5, "retry_s": 3600,
    },
}  # fmt: skip


def configured(folder: Path, url: str, learn: Mapping[str, Any]) -> Path:
    """The daemon's configuration file, and the policy beside it."""
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    told = {
        "history": f"sqlite:///{folder / 'history.sqlite3'}",
        "cycle_s": 1.0,
        "listen": {"port": 0},
        "targets": [{"name": TARGET, "url": url, "policy": str(folder / "policy.yaml")}],
        "learn": {
            "folder": str(folder / "learn"), "adapters": str(folder / "adapters"),
            "golden": str(folder / "golden.jsonl"),
            "held_out_share": HELD_OUT, "min_examples": 8, "at": ["00:00"], **learn,
        },
    }  # fmt: skip
    file = folder / "autotuner.yaml"
    file.write_text(yaml.safe_dump(told), encoding="utf-8")
    return file


@contextmanager
def worker(folder: Path) -> Iterator[tuple[Stage, str]]:
    """The embedded model's worker, with the adapters and golden answers of a run; its URL."""
    with Stage(folder) as stage:
        flags = ["--weight-dtype", "float32", "--kv-cache-gib", "0.3"]
        flags += ["--adapters", str(folder / "adapters"), "--golden", str(folder / "golden.jsonl")]
        yield stage, stage.start_worker(flags, 300.0)


def start_daemon(stage: Stage, file: Path) -> None:
    stage.start("daemon", ["run", "-c", str(file)])


class Load:
    """Two clients, one request after the other with a pause, from entering to leaving."""

    def __init__(self, url: str) -> None:
        self._url, self._end = url, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        self.served, self.failed = 0, 0

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        body = {"prompt": "What does a database index do?", "max_tokens": 12, "ignore_eos": True}
        while not self._end.wait(PAUSE_S):
            try:
                answer = requests.post(f"{self._url}/v1/completions", json=body, timeout=120)
                self.failed += not answer.ok
                self.served += answer.ok
            except requests.RequestException:
                self.failed += 1


def until_decided(history: History, limit_s: float) -> FineTune:
    """The last fine-tune once its live test is over; raises TimeoutError."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        (tune,) = history.fine_tunes(TARGET, 1)
        if tune.stage is not Step.OFFERED:
            return tune
        time.sleep(1.0)
    raise TimeoutError(f"the live test was not decided in {limit_s:.0f} s")


def until_live(url: str, weights: str, limit_s: float) -> float:
    """Seconds until the worker serves these weights; raises TimeoutError."""
    began = time.monotonic()
    while time.monotonic() - began < limit_s:
        settings = requests.get(f"{url}/admin/settings", timeout=30).json()["settings"]
        if settings["weights"] == weights:
            return time.monotonic() - began
        time.sleep(1.0)
    raise TimeoutError(f"weights {weights} did not come in {limit_s:.0f} s")
