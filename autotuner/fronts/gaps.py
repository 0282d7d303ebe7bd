"""When tokens of an answer came: the first, the last and the largest gap between two."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Gaps:
    """All on one monotonic clock, in seconds; None where nothing has come, or one token alone."""

    first_at: float | None = None
    last_at: float | None = None
    largest_s: float | None = None

    def note(self, now: float) -> float | None:
        """A token (or an event of some) came; the gap since the one before, None for the first."""
        last, self.last_at = self.last_at, now
        if last is None:
            self.first_at = now
            return None
        gap_s = now - last
        if self.largest_s is None or gap_s > self.largest_s:
            self.largest_s = gap_s
        return gap_s

    def since(self, arrived: float) -> float | None:
        """From `arrived` to the first."""
        return None if self.first_at is None else self.first_at - arrived

    def mean_s(self, tokens: int) -> float | None:
        """Mean over the tokens after the first; None with fewer than two."""
        if self.first_at is None or self.last_at is None or tokens < 2:
            return None
        return (self.last_at - self.first_at) / (tokens - 1)
