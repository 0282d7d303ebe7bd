"""The embeddings of all that is kept: derived files, made again where they are missing or broken.

    vectors/000002/        the second set of document frequencies, and all vectors made with it
        frequencies.npz    with the embedding's name and the number of documents
        000001.npy …       each version's vectors, float16, in no order that matters
        index.000007       the index of versions 1 to 7, where there was need of one

Frequencies are learnt anew, and all vectors made anew, whenever the store has doubled since: those
of ten examples would serve badly for a million, and the work stays in proportion to what is taken
in.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autotuner.finetune.intake.embedding import DIMENSIONS, NAME, Embedding, text_of
from autotuner.finetune.intake.neighbours import AllOfThem, Indexed, Seen, index_installed
from autotuner.finetune.intake.ngrams import BUCKETS, batches
from autotuner.finetune.store import ExampleStore
from autotuner.whole_files import sync_folder, whole_file

Halves = npt.NDArray[np.float16]
_FREQUENCIES, _INDEX = "frequencies.npz", "index."


class KeptVectors:
    """Of one store, for one intake, while it holds the store's lock; OSError is let through."""

    def __init__(self, store: ExampleStore) -> None:
        self._store = store
        self._home = store.folder / "vectors"
        self._folder = self._home
        self._sizes = {one.number: one.kept for one in store.versions()}
        self._kept = sum(self._sizes.values())

    def embedding(self, new: Iterable[str], count: int) -> Embedding:
        """The one in force, or a new one where `count` new texts double what it was learnt from."""
        found = self._newest()
        if found is not None and found.documents * 2 > self._kept + count:
            return found
        return self._learn(new)

    def seen(self, embedding: Embedding, new: int, exact_up_to: int) -> Seen:
        """All that is kept, for as many `new` ones: compared one by one, or through an index."""
        for number, kept in self._sizes.items():
            if not _has(self._path(number), (kept, embedding.dimensions)):
                self._make(number, embedding)
        if self._kept + new <= exact_up_to or not index_installed():
            return AllOfThem(self._files(0))
        index, covered = self._loaded(embedding.dimensions)
        index.add_all(self._files(covered))
        return index

    def keep(self, number: int, vectors: Sequence[Halves], seen: Seen) -> None:
        """The vectors of a version that was just published, and the index that has them."""
        self._write(number, vectors)
        if isinstance(seen, Indexed):
            self._write_index(number, seen)

    def _newest(self) -> Embedding | None:
        for folder in sorted(self._home.glob("[0-9]*"), reverse=True):
            with suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
                with (folder / _FREQUENCIES).open("rb") as file, np.load(file) as said:
                    name, documents = str(said["name"]), int(said["documents"])
                    frequencies = said["frequencies"]
                if name == NAME and frequencies.shape == (BUCKETS,):
                    self._folder = folder
                    return Embedding(documents, frequencies.astype(np.int64))
        return None

    def _learn(self, new: Iterable[str]) -> Embedding:
        embedding = Embedding.learnt(chain(self._texts(), new))
        older = sorted(self._home.glob("[0-9]*"))
        number = int(older[-1].name) + 1 if older else 1
        self._folder = self._home / f"{number:06d}"
        self._folder.mkdir(parents=True)
        sync_folder(self._home)
        with whole_file(self._folder / _FREQUENCIES) as file:
            frequencies = embedding.frequencies
            np.savez(file, name=NAME, documents=embedding.documents, frequencies=frequencies)
        for folder in older:
            shutil.rmtree(folder)
        return embedding

    def _texts(self) -> Iterator[str]:
        return (text_of(one) for number in self._sizes for one in self._store.kept(number))

    def _make(self, number: int, embedding: Embedding) -> None:
        texts = (text_of(one) for one in self._store.kept(number))
        self._write(number, [embedding.embed(b).astype(np.float16) for b in batches(texts, len)])

    def _write(self, number: int, vectors: Sequence[Halves]) -> None:
        empty = np.empty((0, DIMENSIONS), dtype=np.float16)
        with whole_file(self._path(number)) as file:
            np.save(file, np.concatenate([empty, *vectors]))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npy"

    def _files(self, after: int) -> _Files:
        """Those of the versions after `after`."""
        sizes = self._sizes.items()
        return _Files([self._path(number) for number, kept in sizes if kept and number > after])

    def _write_index(self, number: int, index: Indexed) -> None:
        path = self._folder / f"{_INDEX}{number:06d}"
        made = path.with_name(f".{path.name}")
        index.save(made)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)
        for old in set(self._folder.glob(f"{_INDEX}*")) - {path}:
            old.unlink()

    def _loaded(self, dimensions: int) -> tuple[Indexed, int]:
        """The newest index that fits what is kept, and how many versions it covers."""
        sizes = list(self._sizes.values())
        for path in sorted(self._folder.glob(f"{_INDEX}*"), reverse=True):
            covered, index = int(path.suffix[1:]), Indexed.load(path, dimensions)
            if index is not None and len(index) == sum(sizes[:covered]):
                return index, covered
        return Indexed(dimensions), 0


class _Files:
    """Vectors in files, mapped one after the other: each map holds a file descriptor."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Iterator[Halves]:
        return (np.load(path, mmap_mode="r") for path in self._paths)


def _has(path: Path, shape: tuple[int, int]) -> bool:
    """Is there a file of vectors of that shape? None is needed for none."""
    if shape[0] == 0:
        return True
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return False
    return bool(found.shape == shape and found.dtype == np.float16)
