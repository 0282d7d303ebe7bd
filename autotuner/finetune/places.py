"""Where a target's fine-tuning keeps things, and the lock that one run at a time holds.

Under its folder: `examples/`, the store; `inbox/`, files that are to be taken in, and after that in
its `taken/` or `refused/`; `runs/NAME/`, what the training of NAME keeps to resume from;
`progress.json`, the last word of the run that is under way; `begun`, when one was last due.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotuner.config import LearnConfig
from autotuner.domain.fine_tuning import BASE
from autotuner.finetune.errors import FineTuningError, StoreBusyError
from autotuner.whole_files import publish_folder, write_whole


@dataclass(frozen=True)
class Places:
    """`adapters` is the worker's folder, the rest is nobody else's."""

    folder: Path
    inbox: Path
    adapters: Path

    @classmethod
    def of(cls, config: LearnConfig) -> Places:
        return cls(config.folder, config.inbox_folder, config.adapters)

    @property
    def examples(self) -> Path:
        return self.folder / "examples"

    def run(self, name: str) -> Path:
        return self.folder / "runs" / name

    def adapter(self, weights: str) -> Path | None:
        """The folder of these weights' adapter, None for the base; raises FineTuningError."""
        if weights == BASE:
            return None
        found = self.adapters / weights
        if not (found / "adapter_config.json").is_file():
            raise FineTuningError(
                f"adapters={str(self.adapters)!r}: there is no adapter {weights!r}: give learn."
                "adapters the folder that the worker has as --adapters"
            )
        return found

    def waiting(self) -> list[Path]:
        """Files of examples that nobody has looked at, by name."""
        return sorted(path for path in self.inbox.glob("*.jsonl") if path.is_file())

    def put_away(self, file: Path, kind: str) -> None:
        """Moves a file of the inbox, with its checksum, into its folder `taken` or `refused`."""
        place = self.inbox / kind
        place.mkdir(exist_ok=True)
        for path in (file, file.with_name(f"{file.name}.sha256")):
            with suppress(FileNotFoundError):
                path.replace(place / path.name)

    def publish(self, made: Path, name: str) -> None:
        """A copy of a finished adapter as the worker's `name`, from one moment to the next."""
        place = self.adapters / name
        if place.exists():  # published before this process was killed
            return
        fresh = self.adapters / f".{name}"
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            self.adapters.mkdir(parents=True, exist_ok=True)
            shutil.copytree(made, fresh)
            publish_folder(fresh, place)
        except OSError as problem:
            raise FineTuningError(
                f"adapters={str(self.adapters)!r}: can't be written ({problem}): give a folder "
                "that this user may write to"
            ) from problem

    @contextmanager
    def locked(self, tries: int = 5) -> Iterator[None]:
        """Nobody else runs meanwhile; raises StoreBusyError where somebody does.

        More than one try, since who asks for the state holds the lock for a moment.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "run.lock").open("a")
        except OSError as problem:
            raise FineTuningError(
                f"learn.folder={str(self.folder)!r}: can't be written ({problem.strerror})"
            ) from problem
        with lock:
            if not _taken(lock.fileno(), tries):
                raise StoreBusyError(
                    f"{self.folder}: another run is under way: `autotuner learn status` shows it"
                )
            yield

    def is_locked(self) -> bool:
        """Whether a run is under way."""
        try:
            with self.locked(tries=1):
                return False
        except StoreBusyError:
            return True

    # ---- small notes
    def tell_progress(self, told: dict[str, Any]) -> None:
        """For the daemon's metrics and `status`; a disk that is full must not end a training."""
        with suppress(OSError):
            write_whole(self.folder / "progress.json", json.dumps(told).encode())

    def progress(self) -> dict[str, Any]:
        """The last word of a run; empty where there was none."""
        try:
            told = json.loads((self.folder / "progress.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def note_begun(self, now: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / "begun", f"{now:.0f}".encode())

    def begun(self) -> float | None:
        """When a run was last begun because it was time; None where none ever was."""
        try:
            return float((self.folder / "begun").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def _taken(lock: int, tries: int) -> bool:
    for left in range(tries, 0, -1):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left > 1:
                time.sleep(0.1)
        else:
            return True
    return False
