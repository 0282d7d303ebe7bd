"""A file's examples, each checked and cleaned, without exact duplicates, as lines in a spool."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from autotuner.finetune.errors import RefusedFileError
from autotuner.finetune.examples import Example, from_fields, to_line
from autotuner.finetune.intake.cleaning import Dropped, clean
from autotuner.finetune.intake.lines import examples_in
from autotuner.finetune.intake.rules import IntakeRules


@dataclass(frozen=True)
class Spooled:
    """`count` examples at `path`, of `read` in the file."""

    path: Path
    count: int
    read: int
    exact_duplicates: int
    dropped: Mapping[str, int]

    def examples(self) -> Iterator[Example]:
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                yield from_fields(json.loads(line))


def spool(
    file: Path,
    path: Path,
    rules: IntakeRules,
    sha256: str,
    known: npt.NDArray[np.uint64],
) -> Spooled:
    """Reads all of `file` into a spool at `path`; `known`: the keys that are kept already, sorted.

    Raises RefusedFileError: for a line that is no example, where too many are broken or there is
    none at all, and where the bytes are not those of `sha256` any more.
    """
    counted: Counter[str] = Counter()
    read = exact = 0
    keys: set[int] = set()
    with _opened(file) as opened, path.open("w", encoding="utf-8") as lines:
        hashing = _Hashing(opened)
        for raw in examples_in(hashing, file.name, rules.most_line_bytes):
            read += 1
            example = clean(raw, rules.minimum_score)
            if isinstance(example, Dropped):
                counted[example] += 1
            elif example.key in keys or _among(known, example.key):
                exact += 1
            else:
                keys.add(example.key)
                lines.write(to_line(example))
    if hashing.sha256 != sha256:
        raise RefusedFileError(
            f"{file}: changed while it was read: "
            "write it under another name, and rename it when it is whole"
        )
    _check_share(file, read, counted, rules.most_broken_share)
    return Spooled(path, len(keys), read, exact, {str(why): n for why, n in counted.items()})


class _Hashing:
    """Lines of a file, with the checksum of what was read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def readline(self, size: int, /) -> bytes:
        line = self._file.readline(size)
        self._digest.update(line)
        return line

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as problem:
        raise RefusedFileError(f"{file}: can't be read ({problem.strerror})") from problem


def _among(known: npt.NDArray[np.uint64], key: int) -> bool:
    place = int(np.searchsorted(known, np.uint64(key)))
    return place < len(known) and int(known[place]) == key


def _check_share(file: Path, read: int, counted: Counter[str], most: float) -> None:
    if not read:
        raise RefusedFileError(
            f'{file}: holds no example: give one a line: {{"prompt": "…", "answer": "…"}}'
        )
    broken = sum(n for why, n in counted.items() if Dropped(why).broken)
    if broken > most * read:
        reasons = ", ".join(f"{why} {n}" for why, n in counted.most_common())
        raise RefusedFileError(
            f"{file}: {broken} of {read} examples are broken ({reasons}), "
            f"more than {most:.0%}: look at what made the file"
        )
