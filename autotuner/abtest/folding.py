"""A state that grows item by item, remembered so that one more item costs one more step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")
State = TypeVar("State")

# Chosen: more than the tests that one daemon runs at the same time.
_KEPT = 8


class Folding(Generic[Key, Item, State]):
    """The state after a sequence of items: `begin(key)`, then `step(state, item)` for each.

    A pure function of its arguments: what it remembers saves time and changes nothing. Keys and
    items are compared by equality, so that they have to be values.
    """

    def __init__(self, begin: Callable[[Key], State], step: Callable[[State, Item], State]) -> None:
        self._begin, self._step = begin, step
        self._kept: deque[tuple[Key, tuple[Item, ...], State]] = deque(maxlen=_KEPT)

    def __call__(self, key: Key, items: tuple[Item, ...]) -> State:
        done, state = self._longest(key, items)
        for item in items[done:]:
            state = self._step(state, item)
        if done < len(items):
            self._kept.append((key, items, state))
        return state

    def _longest(self, key: Key, items: tuple[Item, ...]) -> tuple[int, State]:
        """The most of `items` that is known already, and the state after them."""
        known = [
            (len(begun), state)
            for its_key, begun, state in tuple(self._kept)
            if its_key == key and items[: len(begun)] == begun
        ]
        return max(known, key=lambda found: found[0], default=None) or (0, self._begin(key))
