"""Token ids of texts seen before, the least recently used forgotten first; safe between threads."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple


class Key(NamedTuple):
    """What the ids of a text depend on, with one tokenizer."""

    text: str
    add_special_tokens: bool


class TokenLru:
    """Bounded by entries and by the tokens of all entries together.

    A text of more tokens than a quarter of the bound is not kept: it would put out the many that
    come again.
    """

    def __init__(self, max_entries: int, max_tokens: int) -> None:
        if max_entries < 1 or max_tokens < 1:
            raise ValueError(f"cache of {max_entries} entries, {max_tokens} tokens: give 1 or more")
        self._max_entries, self._max_tokens = max_entries, max_tokens
        # As C ints: 4 bytes a token, where a list of Python's ints takes 36.
        self._entries: OrderedDict[Key, array[int]] = OrderedDict()
        self._tokens = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def tokens(self) -> int:
        """Tokens of all entries together."""
        return self._tokens

    def get(self, key: Key) -> list[int] | None:
        """A copy of the ids, which the caller may change; None when they are not known."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
        return found.tolist()

    def put(self, key: Key, ids: Sequence[int]) -> None:
        """Keeps the ids, unless there are too many, and forgets others until all fit."""
        if len(ids) > self._max_tokens // 4:
            return
        with self._lock:
            self._forget(key)
            self._entries[key] = array("i", ids)
            self._tokens += len(ids)
            while len(self._entries) > self._max_entries or self._tokens > self._max_tokens:
                self._forget(next(iter(self._entries)))

    def _forget(self, key: Key) -> None:
        self._tokens -= len(self._entries.pop(key, ()))
