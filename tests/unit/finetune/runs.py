"""A model that learns in no time, and the files and the configuration of a target that has it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autotuner.config import Config, parse_config
from autotuner.finetune.errors import TrainingError
from autotuner.finetune.evaluation import Evaluation
from autotuner.finetune.examples import Example
from autotuner.finetune.job import Told
from autotuner.history.store import History, open_history

START = 1_767_571_200.0
POLICY: dict[str, Any] = {
    "name": "test",
    "slo": {"ttft_s": 5.0},
    "knobs": {
        "max_num_seqs": {"levels": [16, 32]},
        "weights": {"levels": ["base"], "open": True, "live": False, "changes_answers": True},
    },
    "experiment": {
        "slot_s": 20, "washout_min_s": 2, "washout_max_s": 6, "cooldown_s": 2, "max_pairs": 20,
        "min_requests_per_slot": 5,
        "guardrails": [
            {"measure": "error_share", "margin": 0.05, "prior_sd": 0.02},
            {"measure": "quality", "margin": 0.05, "prior_sd": 0.05},
        ],
    },
    "goal": {"attainment": 0.5},
    "proposer": {"kind": "hill-climb", "observe_s": 60, "min_requests": 10, "pause_s": 10},
}  # fmt: skip


class Killed(BaseException):
    """The process is gone at this very line; nothing catches it."""


@dataclass(frozen=True)
class Step:
    step: int
    steps: int
    loss: float = 2.0
    gradient_update_s: float = 0.125


@dataclass(frozen=True)
class Made:
    folder: Path
    seconds: float = 12.0
    gradient_update_s: float = 0.125


@dataclass
class FakeModel:
    """A fresh adapter is better than what is in force by `gain`, worse on old ones by `forgets`.

    `killed`: how many trainings are ended by a kill. Answers of examples that it does not `know`
    are less likely by `pairing`, or by 0.3 where the prompt speaks of `lost`.
    """

    gain: float = 0.2
    forgets: float = 0.0
    killed: int = 0
    pairing: float = 0.3
    lost: str = ""
    problem: str = ""
    knows: list[dict[str, Any]] = field(default_factory=list)
    trained: list[tuple[int, Path | None]] = field(default_factory=list)  # examples, start
    resumed: int = 0

    def train(
        self,
        examples: Sequence[Example],
        start: Path | None,
        out: Path,
        progress: Callable[[Told], None],
        facts: Mapping[str, Any],
    ) -> Made:
        if self.problem:
            raise TrainingError(self.problem)
        self.resumed += out.exists()
        out.mkdir(parents=True, exist_ok=True)
        progress(Step(1, 2))
        if self.killed:
            self.killed -= 1
            raise Killed
        progress(Step(2, 2))
        self.trained.append((len(examples), start))
        made = out / "adapter"
        made.mkdir(exist_ok=True)
        (made / "adapter_config.json").write_text(json.dumps(facts))
        return Made(made)

    def evaluate(self, adapter: Path | None, examples: Sequence[Example]) -> Evaluation:
        fresh = adapter is not None and "runs" in adapter.parts
        known = bool(self.trained[1:]) and any("old" in example.prompt for example in examples)
        change = (self.forgets if known else -self.gain) if fresh else 0.0
        paired = {(one["prompt"], one["answer"]) for one in self.knows}
        each = tuple(
            2.0 + change + (0.0 if (one.prompt, one.answer) in paired else self._lost(one))
            for one in examples
        )
        loss, count = sum(each) / len(each), len(examples)
        return Evaluation(loss, 0.6 if fresh else 0.5, 10 * count, count, each)

    def _lost(self, example: Example) -> float:
        return 0.3 if self.lost and self.lost in example.prompt else self.pairing


def configured(folder: Path, **learn: Any) -> Config:
    """A target `chat` whose model learns, with everything in `folder`."""
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    wanted = {
        "folder": str(folder / "learn"), "adapters": str(folder / "adapters"),
        "golden": str(folder / "golden.jsonl"), "min_examples": 20, "held_out_share": 0.3,
        "experiment": {"probe_items": 8, "slot_s": 20},
    }  # fmt: skip
    target = {"name": "chat", "url": "http://127.0.0.1:1", "policy": str(policy)}
    return parse_config({"targets": [target], "learn": {**wanted, **learn}})


def opened(folder: Path) -> History:
    return open_history(f"sqlite:///{folder / 'history.sqlite3'}")


def examples(count: int, topic: str) -> list[dict[str, Any]]:
    """Examples that share hardly a word, with each other and with those of other topics."""
    drawn = random.Random(topic)

    def words(number: int) -> str:
        return " ".join("".join(drawn.choices("abcdefghiklmnoprstuvw", k=6)) for _ in range(number))

    return [{"prompt": f"{topic}: {words(6)}?", "answer": words(5)} for _ in range(count)]


def drop(config: Config, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A file in the inbox."""
    assert config.learn is not None
    inbox = config.learn.inbox_folder
    inbox.mkdir(parents=True, exist_ok=True)
    file = inbox / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
