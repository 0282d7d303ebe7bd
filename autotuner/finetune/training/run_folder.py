"""The folder of a run: what is to be trained, how far it is, what came out. No torch.

```
run.json         base, plan, facts, and a fingerprint of all that decides the result
examples.jsonl   what is trained on
checkpoints/     the latest one: a file per process
progress.jsonl   a line per update
adapter/         the finished result (method "full": model/); there or not at all
failed.txt       why the last attempt ended, where it did
processes.log    what the processes of torchrun said
```
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.examples import Example
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.progress import ProgressFile
from autotuner.whole_files import write_whole

WAIT_FOR_LOCK_S = 30.0  # chosen: processes of a killed run end within a second or two


@dataclass(frozen=True)
class Task:
    """What run.json says. `facts` are the caller's: they go into the result as they are."""

    base: Base
    plan: TrainingPlan
    facts: Mapping[str, Any]


class RunFolder:
    """`path` need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.progress = ProgressFile(path / "progress.jsonl")
        self.log = path / "processes.log"
        self._run, self._examples = path / "run.json", path / "examples.jsonl"
        self._failed = path / "failed.txt"

    def prepare(self, task: Task, examples: Sequence[Example]) -> None:
        """Writes what is to be trained, or goes on with the same run; raises TrainingError."""
        lines = "".join(json.dumps(asdict(example)) + "\n" for example in examples)
        fingerprint = _fingerprint(task, lines)
        if self._run.exists() and self._read()["fingerprint"] != fingerprint:
            raise TrainingError(
                f"out={str(self.path)!r}: another run is there (base, examples or plan differ): "
                "give another folder, or remove it"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self._examples, lines.encode())
        base = {**asdict(task.base), "path": str(task.base.path.resolve())}
        told = {
            "fingerprint": fingerprint,
            "base": base,
            "plan": task.plan.as_dict(),
            "facts": dict(task.facts),
        }
        write_whole(self._run, json.dumps(told, indent=1).encode())
        self._failed.unlink(missing_ok=True)

    def task(self) -> Task:
        """What `prepare` wrote; raises TrainingError where nothing is."""
        raw = self._read()
        base = Base(**{**raw["base"], "path": Path(raw["base"]["path"])})
        return Task(base, TrainingPlan.from_dict(raw["plan"]), raw["facts"])

    def examples(self) -> list[Example]:
        lines = self._examples.read_text(encoding="utf-8").splitlines()
        return [Example(**json.loads(line)) for line in lines]

    def result(self, method: str) -> Path:
        """Where the result is, once there is one."""
        return self.path / ("adapter" if method == "lora" else "model")

    def note_failure(self, reason: str) -> None:
        write_whole(self._failed, reason.encode())

    def failure(self) -> str | None:
        """Why the last attempt ended; None when it said nothing, or when there was none."""
        return self._failed.read_text(encoding="utf-8") if self._failed.exists() else None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time trains here; raises TrainingError when another goes on to."""
        with (self.path / ".lock").open("w") as lock:
            _lock(lock.fileno(), self.path)
            yield

    def _read(self) -> dict[str, Any]:
        try:
            raw: dict[str, Any] = json.loads(self._run.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{self._run}: can't be read ({error}): begin a run anew"
            ) from error
        return raw


def _lock(descriptor: int, folder: Path) -> None:
    """The system frees it when the process ends, however it ends."""
    give_up = time.monotonic() + WAIT_FOR_LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise TrainingError(
                    f"out={str(folder)!r}: another process trains there: wait until it is done"
                ) from None
            time.sleep(0.2)
        else:
            return


def _fingerprint(task: Task, lines: str) -> str:
    decides = json.dumps(
        [task.base.files_sha256, task.plan.what_decides_the_result()], sort_keys=True
    )
    return hashlib.sha256(decides.encode() + b"\0" + lines.encode()).hexdigest()
