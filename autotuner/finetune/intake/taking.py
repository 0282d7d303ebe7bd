"""One file into the store: verified, checked whole, cleaned, without duplicates; or its refusal.

The file is read twice: for its checksum, then for its examples, which go to a spool in the store's
place for what is being made, so that nothing is kept before all of it is known to be good.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from autotuner.finetune.errors import RefusedFileError
from autotuner.finetune.examples import Example, held_out, to_line
from autotuner.finetune.intake.checksum import verified_sha256
from autotuner.finetune.intake.embedding import NAME, Embedding, text_of
from autotuner.finetune.intake.neighbours import Seen, fresh
from autotuner.finetune.intake.ngrams import batches
from autotuner.finetune.intake.rules import IntakeRules
from autotuner.finetune.intake.spool import Spooled, spool
from autotuner.finetune.intake.vectors import Halves, KeptVectors
from autotuner.finetune.store import HELD_OUT, KEYS, TRAINING, ExampleStore
from autotuner.finetune.versions import DatasetVersion


def take_in(
    file: Path, store: ExampleStore, rules: IntakeRules, checksum: str | None = None
) -> DatasetVersion:
    """The version that `file` made; the one that it made before where the store has it already.

    `checksum`: its SHA-256 in hexadecimal; none: what FILE.sha256 says, if it is there. Raises
    RefusedFileError, with nothing kept, and StoreError. Memory does not grow with the file but by
    the vectors of what is kept of it (512 bytes each), and by all of them where an index is used.
    """
    _check_size(file, rules.most_file_bytes)
    sha256 = verified_sha256(file, checksum, required=rules.checksum_required)
    if (known := store.version_of(sha256)) is not None:
        return known
    with store.making() as place:
        if (known := store.version_of(sha256)) is not None:
            return known  # another process was quicker
        spooled = spool(file, place / "spool.jsonl", rules, sha256, store.keys())
        return _kept(spooled, file.name, sha256, store, rules)


def _check_size(file: Path, most_bytes: int) -> None:
    if not file.exists():
        raise RefusedFileError(f"{file}: there is no such file")
    if not file.is_file():
        raise RefusedFileError(f"{file}: is no file: give a file of examples, one a line")
    if (size := file.stat().st_size) > most_bytes:
        raise RefusedFileError(f"{file}: has {size} bytes, more than {most_bytes}: split it")


def _kept(
    spooled: Spooled, source: str, sha256: str, store: ExampleStore, rules: IntakeRules
) -> DatasetVersion:
    """Publishes what of the spool has no near-duplicate."""
    vectors = KeptVectors(store)
    embedding = vectors.embedding(map(text_of, spooled.examples()), spooled.count)
    seen = vectors.seen(embedding, spooled.count, rules.exact_up_to)
    made = _Made(spooled.path.parent, store.held_out_share)
    for batch in batches(spooled.examples(), _length):
        made.add(batch, embedding, seen, rules.near_duplicate)
    made.finish()
    spooled.path.unlink()
    version = DatasetVersion(
        number=len(store.versions()) + 1,
        at=time.time(),
        source=source,
        sha256=sha256,
        read=spooled.read,
        kept=len(made.keys),
        held_out=made.held_out,
        exact_duplicates=spooled.exact_duplicates,
        near_duplicates=spooled.count - len(made.keys),
        embedding=NAME,
        dropped=spooled.dropped,
    )
    store.publish(made.folder, version)
    with suppress(OSError):  # derived: a full disk costs the next intake time, and nothing else
        vectors.keep(version.number, made.vectors, seen)
    return version


class _Made:
    """The files of a version in the making."""

    def __init__(self, folder: Path, held_out_share: float) -> None:
        self.folder, self.held_out = folder, 0
        self.keys: list[int] = []
        self.vectors: list[Halves] = []
        self._share = held_out_share
        self._training = (folder / TRAINING).open("w", encoding="utf-8")
        self._held_out = (folder / HELD_OUT).open("w", encoding="utf-8")

    def add(self, batch: list[Example], embedding: Embedding, seen: Seen, near: float) -> None:
        rows = embedding.embed([text_of(one) for one in batch])
        keep = fresh(rows, seen, near)
        self.vectors.append(rows[keep].astype(np.float16))
        for example in (one for one, kept in zip(batch, keep, strict=True) if kept):
            apart = held_out(example, self._share)
            (self._held_out if apart else self._training).write(to_line(example))
            self.held_out += apart
            self.keys.append(example.key)

    def finish(self) -> None:
        self._training.close()
        self._held_out.close()
        np.save(self.folder / KEYS, np.array(self.keys, dtype=np.uint64))


def _length(example: Example) -> int:
    return len(example.prompt) + len(example.answer)
