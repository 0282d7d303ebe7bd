"""A bounded log read by cursor; a reader can tell when records it has not seen were overwritten."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Records after a cursor, each with its sequence number; `next` is the cursor to go on with."""

    records: list[tuple[int, T]]
    next: int
    oldest: int
    overrun: bool


class Ring(Generic[T]):
    """Keeps the last `capacity` records; sequence numbers start at 1 and have no holes."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity={capacity}: give at least 1")
        self._records: deque[T] = deque(maxlen=capacity)
        self._last_seq = 0

    def append(self, record: T) -> int:
        """Adds the record and returns its sequence number."""
        self._records.append(record)
        self._last_seq += 1
        return self._last_seq

    def __reversed__(self) -> Iterator[T]:
        """The records that are kept, newest first."""
        return reversed(self._records)

    def read(self, after: int, limit: int) -> Page[T]:
        """At most `limit` records with a sequence number above `after`, oldest first.

        `oldest` is the number of the oldest record still kept (or of the first to come). `overrun`
        is true when a record after `after` is gone.
        """
        oldest = self._last_seq - len(self._records) + 1
        first = max(after + 1, oldest)
        found = islice(self._records, first - oldest, first - oldest + limit)
        records = list(enumerate(found, start=first))
        return Page(records, records[-1][0] if records else after, oldest, after + 1 < oldest)
