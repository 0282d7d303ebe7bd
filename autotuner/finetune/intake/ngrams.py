"""Texts as the short runs of characters in them, hashed: what an embedding is made of.

A run (n-gram) of 3 or 4 characters that does not cross a space inside it, as in Cavnar and
Trenkle's n-gram profiles (1994); hashed to a bucket instead of kept in a table (Weinberger et al.,
arXiv 0902.2206), so that no vocabulary grows with the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

SIZES = (3, 4)  # characters
BUCKETS = 2**18  # chosen: with 65,000 as many near-duplicates were found
_BATCH_TEXTS, _BATCH_CHARACTERS = 512, 2**18  # bound the memory of a batch to about 50 MB
_SPACES = re.compile(r"\s+")
_PRIME = np.uint64(1_000_003)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Grams:
    """The n-grams of `texts` texts: of text `rows[i]`, bucket `buckets[i]` stands `counts[i]`
    times. All of shape (n,), sorted by row, each bucket once a row.
    """

    texts: int
    rows: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


def grams_of(texts: Sequence[str], sizes: Sequence[int] = SIZES) -> Grams:
    """The n-grams of each text, without regard to case and to how much space is between words."""
    folded = [f" {_SPACES.sub(' ', text.casefold()).strip()} " for text in texts]
    # A separator that no text holds (NUL) keeps n-grams from running into the next one.
    codes = np.frombuffer("\0".join(folded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = [len(text) + 1 for text in folded]
    rows = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)[: len(codes)]
    inner = (codes == ord(" ")) | (codes == 0)
    parts = [_gram_keys(codes, rows, inner, size) for size in sizes]
    keys, counts = np.unique(np.concatenate(parts), return_counts=True)
    return Grams(len(texts), keys // BUCKETS, keys % BUCKETS, counts)


def _gram_keys(
    codes: npt.NDArray[np.uint32],
    rows: npt.NDArray[np.int64],
    inner: npt.NDArray[np.bool_],
    size: int,
) -> npt.NDArray[np.int64]:
    """The n-grams of `size` characters, each as row · BUCKETS + bucket; shape (n,)."""
    starts = len(codes) - size + 1
    if starts < 1:
        return np.empty(0, dtype=np.int64)
    hashed = np.full(starts, size, dtype=np.uint64)
    whole = np.ones(starts, dtype=np.bool_)
    for place in range(size):
        hashed = hashed * _PRIME + codes[place : place + starts]
        if 0 < place < size - 1:
            whole &= ~inner[place : place + starts]
    whole &= (codes[:starts] != 0) & (codes[size - 1 :] != 0)
    buckets = mixed(hashed[whole]) % np.uint64(BUCKETS)
    return rows[:starts][whole] * BUCKETS + buckets.astype(np.int64)


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's last step (Steele et al., 2014): every bit of the result hangs on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def batches(items: Iterable[Item], length: Callable[[Item], int]) -> Iterator[list[Item]]:
    """The items in their order, in batches whose n-grams fit in memory; `length` in characters."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) == _BATCH_TEXTS or size + length(item) > _BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length(item)
    if batch:
        yield batch
