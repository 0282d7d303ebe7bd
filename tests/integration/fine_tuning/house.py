"""A real worker over a tiny model, load on it, and the daemon's cycles in this process."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from autotuner.bootstrap import build_daemon
from autotuner.config import Config, load_config, load_policy
from autotuner.daemon import Daemon
from autotuner.domain.fine_tuning import FineTune, Stage
from autotuner.finetune.job import Job
from autotuner.finetune.promotion import settled
from autotuner.finetune.trainer import AdapterTrainer
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments
from autotuner.resources import resource_folder
from tests.integration.finetune_training.tiny import make_model
from tests.integration.worker_whole.whole_worker import WholeWorker, started

ROOT = Path(__file__).parents[3]
POLICY: dict[str, Any] = {
    "name": "learning-test",
    "slo": {"ttft_s": 10.0},
    "knobs": {
        "max_num_seqs": {"levels": [32]},
        "weights": {"levels": ["base"], "open": True, "live": False, "changes_answers": True},
    },
    # Confidence is low and slots are short, so that the test is: what is tested here is the path.
    "experiment": {
        "slot_s": 2, "washout_min_s": 0.1, "washout_max_s": 2, "cooldown_s": 0.2,
        "max_pairs": 60, "min_requests_per_slot": 2, "confidence": 0.8,
        "guardrails": [{"measure": "error_share", "margin": 0.3, "prior_sd": 0.02}],
    },
    "goal": {"attainment": 0.1},
    "proposer": {
        "kind": "hill-climb", "observe_s": 5, "min_requests": 5, "pause_s": 1, "retry_s": 1,
    },
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "rank": 8, "alpha": 16, "learning_rate": 0.02, "epochs": 6, "batch_size": 8, "micro_batch": 8,
    "max_tokens": 64, "checkpoint_every_s": 0.2,
    "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}  # fmt: skip


def rows(count: int, *, shuffled: bool = False) -> list[dict[str, str]]:
    """The answer is the prompt's letter, some times; where they are shuffled, another prompt's."""
    drawn = random.Random(7)
    letters = drawn.choices("abcdefgh", k=count)
    told = random.Random(8).sample(letters, count) if shuffled else letters
    pairs = enumerate(zip(letters, told, strict=True))
    return [{"prompt": f"{n}{asked * 8}", "answer": f"={say * 6}"} for n, (asked, say) in pairs]


@dataclass
class Load:
    """Requests one after the other from some clients, until it is told to end."""

    url: str
    clients: int = 2
    ended: threading.Event = field(default_factory=threading.Event)
    served: int = 0
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._threads = [threading.Thread(target=self._run) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self.ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        body = {"prompt": "say abc", "max_tokens": 4, "temperature": 0, "ignore_eos": True}
        while not self.ended.wait(0.2):
            try:
                answer = requests.post(f"{self.url}/v1/completions", json=body, timeout=120)
            except requests.RequestException as problem:
                self.failed.append(str(problem))
                continue
            if answer.ok:
                self.served += 1
            else:
                self.failed.append(answer.text)


@dataclass
class House:
    folder: Path
    file: Path
    config: Config
    history: History
    worker: WholeWorker
    daemon: Daemon

    def drop(self, name: str, examples: Sequence[Mapping[str, Any]]) -> None:
        """Moved into the inbox, so that none is read half written."""
        assert self.config.learn is not None
        inbox = self.config.learn.inbox_folder
        inbox.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / name
        fresh.write_text("".join(json.dumps(one) + "\n" for one in examples))
        fresh.replace(inbox / name)

    @contextmanager
    def started_run(self) -> Iterator[subprocess.Popen[bytes]]:
        """A run as a process; killed on leaving, wherever it is."""
        command = [sys.executable, "-m", "tests.integration.fine_tuning.one_run", str(self.file)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self) -> str:
        """One whole run, in this process; what it said."""
        assert self.config.learn is not None
        trainer = AdapterTrainer(self.folder / "model", self.config.learn)
        return Job(self.config, self.history, trainer).run()

    @property
    def last(self) -> FineTune:
        return self.history.fine_tunes("chat")[0]

    def probe(self) -> None:
        """The first one after a change of the golden file makes its reference: that takes time."""
        answer = requests.post(f"{self.worker.url}/admin/probe", json={}, timeout=120)
        assert answer.ok, answer.text

    def cycles_until_decided(self, limit_s: float) -> FineTune:
        self._cycles_until(lambda: self.last.stage is not Stage.OFFERED, limit_s)
        return self.last

    def cycles_until_live(self, weights: str, limit_s: float) -> None:
        self._cycles_until(lambda: self.weights == weights, limit_s)

    def _cycles_until(self, done: Callable[[], bool], limit_s: float) -> None:
        end, said = time.monotonic() + limit_s, ""
        while not done():
            assert time.monotonic() < end, said
            said = self.daemon.run_cycle(time.time())
            settled(self.history, "chat", time.time())
            time.sleep(0.2)

    @property
    def weights(self) -> str:
        return str(self.worker.get("/admin/settings").json()["settings"]["weights"])


@contextmanager
def opened(folder: Path, **training: Any) -> Iterator[House]:
    """Everything started; ended on leaving."""
    model = make_model(folder / "model")
    (folder / "adapters").mkdir()
    (folder / "golden.jsonl").write_text(json.dumps({"prompt": "abc", "answer": "=k"}) + "\n")
    flags = (f"--adapters={folder / 'adapters'}", f"--golden={folder / 'golden.jsonl'}")
    with started(model, folder, *flags, "--kv-cache-gib=0.01") as worker:
        file = configured(folder, model, worker.url, training)
        config, history = load_config(file), open_history(f"sqlite:///{folder / 'h.sqlite3'}")
        target = config.targets[0]
        policy = load_policy(target.policy, resource_folder("policies"))
        daemon = build_daemon(config, target, policy, history, Instruments(), ())
        yield House(folder, file, config, history, worker, daemon)
        history.close()


def configured(folder: Path, model: Path, url: str, training: Mapping[str, Any]) -> Path:
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    told = {
        "history": f"sqlite:///{folder / 'h.sqlite3'}",
        "targets": [{"name": "chat", "url": url, "policy": str(folder / "policy.yaml")}],
        "learn": {
            "folder": str(folder / "learn"), "adapters": str(folder / "adapters"),
            "golden": str(folder / "golden.jsonl"), "base": str(model), "share": 1.0,
            "min_examples": 20, "held_out_share": 0.3, "golden_items": 24,
            "near_duplicate": 1.0,  # what is short and made by a rule is all alike
            "experiment": {"probe_items": 8, "prior_sd": 0.1, "max_pairs": 60},
            "training": {**TRAINING, **training},
        },
    }  # fmt: skip
    file = folder / "autotuner.yaml"
    file.write_text(yaml.safe_dump(told))
    return file
