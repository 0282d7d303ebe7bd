"""Which new vectors lie too near to one that is kept: compared with all, or through an index.

The index is usearch's HNSW graph (Malkov and Yashunin, arXiv 1603.09320). It may miss a neighbour
that a comparison with all finds; what it finds has the same similarity.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
_BLOCK = 16_384  # vectors; as float32 16 MB at 256 dimensions
# Chosen, and measured at 40,000 vectors in 200 clusters: every neighbour above 0.85 was found.
_CONNECTIVITY, _EXPANSION_ADD, _EXPANSION_SEARCH = 16, 128, 64


class Seen(Protocol):
    """What is kept so far. `rows`: shape (n, dimensions), of length 1."""

    def nearest(self, rows: Vectors) -> Vectors:
        """The greatest cosine similarity of each row to what is kept, shape (n,); −1 to nothing."""
        ...

    def add(self, rows: Vectors) -> None: ...


class AllOfThem:
    """Compares with each vector, block by block; `kept` is gone through again each time."""

    def __init__(self, kept: Iterable[npt.NDArray[np.float16]]) -> None:
        self._kept = kept
        self._added: list[npt.NDArray[np.float16]] = []

    def nearest(self, rows: Vectors) -> Vectors:
        best = np.full(len(rows), -1.0, dtype=np.float32)
        for vectors in chain(self._kept, self._added):
            for start in range(0, len(vectors), _BLOCK):
                block = np.asarray(vectors[start : start + _BLOCK], dtype=np.float32)
                np.maximum(best, (rows @ block.T).max(axis=1), out=best)
        return best

    def add(self, rows: Vectors) -> None:
        self._added.append(rows.astype(np.float16))


def index_installed() -> bool:
    """Is usearch there (extra `learn`)? Without it vectors are compared with all, more slowly."""
    return find_spec("usearch") is not None


class Indexed:
    """A graph of all vectors in memory, which can be saved and loaded; see `index_installed`."""

    def __init__(self, dimensions: int) -> None:
        from usearch.index import Index

        self._index: Any = Index(
            ndim=dimensions,
            metric="ip",
            dtype="f16",
            connectivity=_CONNECTIVITY,
            expansion_add=_EXPANSION_ADD,
            expansion_search=_EXPANSION_SEARCH,
        )

    def __len__(self) -> int:
        return len(self._index)

    def nearest(self, rows: Vectors) -> Vectors:
        if not (len(self._index) and len(rows)):
            return np.full(len(rows), -1.0, dtype=np.float32)
        found = self._index.search(rows, 1, threads=1)
        similarities: Vectors = 1 - np.asarray(found.distances, dtype=np.float32).reshape(-1)
        return similarities

    def add(self, rows: Vectors) -> None:
        first = len(self._index)
        keys = np.arange(first, first + len(rows), dtype=np.uint64)
        self._index.add(keys, np.asarray(rows, dtype=np.float32), threads=1)

    def add_all(self, kept: Iterable[npt.NDArray[np.float16]]) -> None:
        """Adds vectors block by block, so that none but the graph's own copy is in memory."""
        for vectors in kept:
            for start in range(0, len(vectors), _BLOCK):
                self.add(np.asarray(vectors[start : start + _BLOCK], dtype=np.float32))

    def save(self, path: Path) -> None:
        self._index.save(str(path))

    @classmethod
    def load(cls, path: Path, dimensions: int) -> Indexed | None:
        """What is saved at `path`; None where that is of no use."""
        loaded = cls(dimensions)
        try:
            loaded._index.load(str(path))
        except (OSError, RuntimeError, ValueError):
            return None
        return loaded if loaded._index.ndim == dimensions else None


def fresh(rows: Vectors, seen: Seen, threshold: float) -> npt.NDArray[np.bool_]:
    """Which rows lie no nearer than `threshold` to what is kept, nor to an earlier fresh row.

    They are added to what is kept. Shape (n,).
    """
    keep = seen.nearest(rows) <= threshold
    among = rows @ rows.T > threshold
    for row in np.flatnonzero(keep):
        keep[row] = not (among[row, :row] & keep[:row]).any()
    seen.add(rows[keep])
    return np.asarray(keep)
