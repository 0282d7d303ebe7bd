"""How many notifications a receiver is sent in a minute. Pure."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0


class Pace:
    """At most `limit` attempts in any 60 seconds, ends included; times never go back."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit!r}: give 1 or more")
        self._recent: deque[float] = deque(maxlen=limit)

    def free(self, now: float) -> bool:
        """Whether one more attempt at `now` (seconds) keeps to the limit."""
        full = len(self._recent) == self._recent.maxlen
        return not full or now - self._recent[0] > WINDOW_S

    def count(self, now: float) -> None:
        """An attempt is made at `now`."""
        self._recent.append(now)
