"""How steady a rate is: one minus its coefficient of variation over a short past. Pure."""

from __future__ import annotations

import math
from collections import deque

SPAN_S = 300.0  # chosen: long enough for twenty parts, short enough to see a drop within minutes
PART_S = 15.0
MIN_PARTS = 10


class Steadiness:
    """Of requests per second, from the counts of one window after another."""

    def __init__(self, span_s: float = SPAN_S, part_s: float = PART_S) -> None:
        self._span_s, self._part_s = span_s, part_s
        self._parts: deque[tuple[float, float]] = deque()  # end, requests per second
        self._length_s = 0.0
        self._requests = 0.0

    def add(self, end: float, length_s: float, requests: float) -> None:
        """Takes a window's count; windows are joined into parts of at least `part_s`."""
        if not (math.isfinite(requests) and length_s > 0):
            return
        self._length_s += length_s
        self._requests += requests
        if self._length_s >= self._part_s:
            self._parts.append((end, self._requests / self._length_s))
            self._length_s = self._requests = 0.0
        while self._parts and self._parts[0][0] <= end - self._span_s:
            self._parts.popleft()

    @property
    def value(self) -> float:
        """In 0..1; NaN while too little was seen, and for a service that nobody asks."""
        rates = [rate for _, rate in self._parts]
        if len(rates) < MIN_PARTS or not any(rates):
            return math.nan
        mean = math.fsum(rates) / len(rates)
        variance = math.fsum((rate - mean) ** 2 for rate in rates) / len(rates)
        return max(0.0, 1.0 - math.sqrt(variance) / mean)
