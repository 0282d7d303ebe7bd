"""An example as a vector: near-duplicates point in nearly the same direction.

TF-IDF over hashed n-grams (Salton and Buckley, 1988, with 1 + ln of the count), brought to
DIMENSIONS by a sparse random projection with signs (count sketch: Charikar et al., 2002), which
keeps cosines up to about 1/sqrt(DIMENSIONS). Without the document frequencies, examples that share
a template look alike. Chosen by a measurement: experiments/studies/example_similarity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from autotuner.finetune.examples import Example
from autotuner.finetune.intake.ngrams import BUCKETS, SIZES, batches, grams_of, mixed

DIMENSIONS = 256
NAME = f"tfidf-ngrams-{SIZES[0]}-{SIZES[-1]}/{DIMENSIONS}"


def text_of(example: Example) -> str:
    """What of an example is compared: prompt and answer, not the score."""
    return f"{example.prompt}\n{example.answer}"


@dataclass(frozen=True)
class Embedding:
    """`frequencies`: in how many of `documents` texts a bucket occurs, shape (BUCKETS,)."""

    documents: int
    frequencies: npt.NDArray[np.int64]
    dimensions: int = DIMENSIONS
    sizes: tuple[int, ...] = SIZES

    @classmethod
    def learnt(
        cls, texts: Iterable[str], dimensions: int = DIMENSIONS, sizes: tuple[int, ...] = SIZES
    ) -> Self:
        """With the frequencies of `texts`, of which no more than a batch is in memory."""
        documents, frequencies = 0, np.zeros(BUCKETS, dtype=np.int64)
        for batch in batches(texts, len):
            documents += len(batch)
            frequencies += np.bincount(grams_of(batch, sizes).buckets, minlength=BUCKETS)
        return cls(documents, frequencies, dimensions, sizes)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (texts, dimensions); their products are cosines."""
        grams = grams_of(texts, self.sizes)
        values = (1 + np.log(grams.counts)) * self.weights()[grams.buckets]
        column, sign = _projection(self.dimensions)
        places = grams.rows * self.dimensions + column[grams.buckets]
        size = len(texts) * self.dimensions
        sums = np.bincount(places, values * sign[grams.buckets], minlength=size)
        vectors = sums.reshape(len(texts), self.dimensions)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        found: npt.NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
        return found

    def weights(self) -> npt.NDArray[np.float64]:
        """The inverse document frequency of each bucket, smoothed and 1 at least."""
        found: npt.NDArray[np.float64] = 1 + np.log((1 + self.documents) / (1 + self.frequencies))
        return found


def _projection(dimensions: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The dimension that each bucket adds to, and its sign; the same on every machine."""
    hashed = mixed(np.arange(1, BUCKETS + 1, dtype=np.uint64))
    sign = np.where(hashed >> np.uint64(63) == 1, 1.0, -1.0)
    return (hashed % np.uint64(dimensions)).astype(np.int64), sign
