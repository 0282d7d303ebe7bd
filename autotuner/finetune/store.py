"""The folder that keeps examples: immutable versions, numbered from 1, each whole or not there.

    store.json                the format and the share that is held out, set when it is made
    versions/000001/          one file's: version.json, training.jsonl, held_out.jsonl, keys.npy
    .new/                     what an intake is making; cleared by the next one
    vectors/                  what the intake derived from all this; may be deleted

Examples are read as a stream. Knows nothing of how they are checked or told apart.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from heapq import nsmallest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autotuner.finetune.errors import StoreBusyError, StoreError
from autotuner.finetune.examples import Example, from_fields, split_hash
from autotuner.finetune.versions import DatasetVersion, version_from_dict
from autotuner.whole_files import publish_folder, write_whole

HELD_OUT_SHARE = 0.05  # chosen
FORMAT = 1
MOST_GOLDEN_TOKENS = 1024  # of an answer, as the worker takes them
GOLDEN_BYTES = 1536  # of prompt and answer: a token is a byte or more, so it fits a small context
TRAINING, HELD_OUT = "training.jsonl", "held_out.jsonl"
KEYS = "keys.npy"  # uint64, shape (kept,): Example.key of each


class ExampleStore:
    """Every method raises StoreError for what can't be read; a reader needs no lock.

    `held_out_share`: of the prompts, kept from training. It is set when the folder is made: a
    later change would train on what was held out, or the other way round.
    """

    def __init__(self, folder: Path, held_out_share: float = HELD_OUT_SHARE) -> None:
        if not 0 < held_out_share < 1:
            raise StoreError(f"held_out_share={held_out_share}: give a share above 0 and below 1")
        self.folder, self.held_out_share = folder, held_out_share
        self._settings = folder / "store.json"
        if self._settings.exists():
            self._check_settings()

    def versions(self) -> Sequence[DatasetVersion]:
        """All of them, oldest first."""
        return [self._version(path) for path in sorted((self.folder / "versions").glob("[0-9]*"))]

    def version_of(self, sha256: str) -> DatasetVersion | None:
        """The version that a file with these bytes made, if it was taken in."""
        return next((one for one in self.versions() if one.sha256 == sha256), None)

    def training(self, first: int, last: int) -> Iterator[Example]:
        """The examples of versions `first` to `last`, both included, that are not held out."""
        return self._examples(first, last, TRAINING)

    def held_out(self, last: int, without: Collection[int] = ()) -> Sequence[Example]:
        """Those of versions 1 to `last`, but not `without`, that are never trained on."""
        return tuple(self._examples(1, last, HELD_OUT, without))

    def replay(self, before: int, count: int, seed: int) -> Sequence[Example]:
        """`count` of the training examples of versions before `before`, or all if there are fewer.

        Drawn without replacement, each as likely as another; in the order of the store.
        """
        older = [one for one in self.versions() if one.number < before]
        total = sum(one.kept - one.held_out for one in older)
        drawn = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
        wanted = set(drawn.tolist())
        stream = enumerate(self.training(1, before - 1))
        return tuple(example for place, example in stream if place in wanted)

    def kept(self, number: int) -> Iterator[Example]:
        """All examples of a version, those that are held out last."""
        yield from self._examples(number, number, TRAINING)
        yield from self._examples(number, number, HELD_OUT)

    def write_golden(
        self,
        path: Path,
        last: int,
        count: int,
        without: Collection[int] = (),
        *,
        chat: bool = False,
    ) -> None:
        """Writes up to `count` held-out examples as the worker's golden set, whole or not at all.

        `without`: versions that give none. `chat`: prompts as conversations, for a model with a
        chat template. The same examples again as long as none is added. Those of more than
        GOLDEN_BYTES are left out, since the worker refuses a set with one that its context can't
        hold. Raises StoreError where none is left.
        """
        sizes = ((one, _size(one)) for one in self.held_out(last, without))
        short = (one for one, size in sizes if size <= GOLDEN_BYTES)
        chosen = nsmallest(count, short, key=lambda one: (split_hash(one), one.key))
        if not chosen:
            raise StoreError(
                f"{self.folder}: no held-out example of at most {GOLDEN_BYTES} bytes up to version "
                f"{last}: take in more examples"
            )
        lines = "".join(json.dumps(_golden(one, chat)) + "\n" for one in chosen)
        try:
            write_whole(path, lines.encode())
        except OSError as problem:
            raise StoreError(f"{path}: can't be written ({problem})") from problem

    def keys(self) -> npt.NDArray[np.uint64]:
        """The keys of all examples that are kept, sorted, shape (n,)."""
        parts = [_keys(path / KEYS) for path in self._folders()]
        empty = np.empty(0, dtype=np.uint64)
        return np.sort(np.concatenate([empty, *parts]))

    @contextmanager
    def making(self) -> Iterator[Path]:
        """An empty folder for the files of a new version, while no other process makes one.

        Raises StoreBusyError where one does. What is not published by the end is dropped.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("a") as lock:
                self._take(lock.fileno())
                self._make_settings()
                place = self.folder / ".new"
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                try:
                    yield place
                finally:
                    shutil.rmtree(place, ignore_errors=True)
        except OSError as problem:
            raise StoreError(f"{self.folder}: can't be written ({problem})") from problem

    def publish(self, made: Path, version: DatasetVersion) -> None:
        """Makes the files in `made` version `version.number`, from one moment to the next."""
        write_whole(
            made / "version.json", (json.dumps(version.as_dict(), indent=1) + "\n").encode()
        )
        place = self._place(version.number)
        place.parent.mkdir(exist_ok=True)
        publish_folder(made, place)

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise StoreBusyError(
                f"{self.folder}: another process takes in a file: try again when it is done"
            ) from problem

    def _make_settings(self) -> None:
        if not self._settings.exists():
            said = {"format": FORMAT, "held_out_share": self.held_out_share}
            write_whole(self._settings, (json.dumps(said) + "\n").encode())
        self._check_settings()

    def _check_settings(self) -> None:
        said = _json(self._settings)
        if said.get("format") != FORMAT:
            raise StoreError(
                f"{self._settings}: format={said.get('format')!r}: this version reads {FORMAT}"
            )
        if said.get("held_out_share") != self.held_out_share:
            raise StoreError(
                f"held_out_share={self.held_out_share}: {self.folder} was made with "
                f"{said.get('held_out_share')!r}: give that, or another folder"
            )

    def _folders(self) -> Sequence[Path]:
        return [self._place(one.number) for one in self.versions()]

    def _place(self, number: int) -> Path:
        return self.folder / "versions" / f"{number:06d}"

    def _version(self, place: Path) -> DatasetVersion:
        path = place / "version.json"
        try:
            return version_from_dict(_json(path))
        except (KeyError, TypeError, ValueError) as problem:
            raise StoreError(f"{path}: is no version's ({problem!r}); restore the file") from None

    def _examples(
        self, first: int, last: int, name: str, without: Collection[int] = ()
    ) -> Iterator[Example]:
        for version in self.versions():
            if first <= version.number <= last and version.number not in without:
                yield from _read(self._place(version.number) / name)


def _read(path: Path) -> Iterator[Example]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield from_fields(json.loads(line))
                except (KeyError, TypeError, ValueError) as problem:
                    raise StoreError(
                        f"{path}, line {number}: is no example ({problem!r}); restore the file"
                    ) from problem
    except OSError as problem:
        raise StoreError(f"{path}: can't be read ({problem.strerror})") from problem


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise StoreError(f"{path}: can't be read ({problem}); restore the file") from problem
    if not isinstance(said, dict):
        raise StoreError(f"{path}: is no JSON object; restore the file")
    return said


def _keys(path: Path) -> npt.NDArray[np.uint64]:
    try:
        found: npt.NDArray[np.uint64] = np.load(path).astype(np.uint64)
    except (OSError, ValueError) as problem:
        raise StoreError(f"{path}: can't be read ({problem}); restore the file") from problem
    return found


def _golden(example: Example, chat: bool) -> dict[str, Any]:
    # Four bytes a token, as English has: room for the answer, and little more.
    tokens = min(len(example.answer.encode()) // 4 + 1, MOST_GOLDEN_TOKENS)
    turn = {"role": "user", "content": example.prompt}
    asked = {"messages": [turn]} if chat else {"prompt": example.prompt}
    return {**asked, "answer": example.answer, "max_tokens": tokens}


def _size(example: Example) -> int:
    return len(example.prompt.encode()) + len(example.answer.encode())
