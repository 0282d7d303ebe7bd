"""What is usual for a series: a few figures of its own recent past. Knows nothing of rules."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Usual:
    """Quantiles of a series' own past, in its unit."""

    median: float
    p05: float
    p99: float


@dataclass(frozen=True)
class Span:
    """How far back the past goes, how often it is sampled, and when it is enough to speak of.

    The last `lag_s` are not past yet: an incident must not be compared with itself. The defaults
    are chosen: a day holds every hour of it, an hour of minutes is the least that a P99 can be
    read from.
    """

    length_s: float = 86_400.0
    every_s: float = 60.0
    lag_s: float = 900.0
    min_points: int = 60


class Past:
    """One series' recent past. Takes one value as it was seen per `every_s`, never a mean.

    Rules compare single values, and the spread of means would make these look extreme.
    """

    def __init__(self, span: Span = Span()) -> None:
        self._span = span
        self._kept: deque[tuple[float, float]] = deque()
        self._lately: deque[tuple[float, float]] = deque()
        self._usual: Usual | None = None
        self._stale = False

    def add(self, at: float, value: float) -> None:
        """Keeps the value seen at `at` (s, rising), unless one was kept less than `every_s` ago."""
        last = self._lately or self._kept
        if not math.isfinite(value) or (last and at < last[-1][0] + self._span.every_s):
            return
        self._lately.append((at, value))
        while self._lately and self._lately[0][0] <= at - self._span.lag_s:
            self._kept.append(self._lately.popleft())
        while self._kept and self._kept[0][0] <= at - self._span.length_s:
            self._kept.popleft()
        self._stale = True

    def extend(self, rows: Iterable[tuple[float, float]]) -> None:
        """Takes over what was kept elsewhere, in order of time."""
        for at, value in rows:
            self.add(at, value)

    @property
    def usual(self) -> Usual | None:
        """None while there is too little past."""
        if self._stale:
            self._usual, self._stale = self._figures(), False
        return self._usual

    def _figures(self) -> Usual | None:
        if len(self._kept) < self._span.min_points:
            return None
        values = [value for _, value in self._kept]
        p05, median, p99 = np.quantile(values, (0.05, 0.5, 0.99))
        return Usual(float(median), float(p05), float(p99))


class Pasts:
    """The pasts of the series that rules compare with themselves."""

    def __init__(self, names: Iterable[str], span: Span = Span()) -> None:
        self.span = span
        self._pasts = {name: Past(span) for name in sorted(set(names))}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._pasts)

    def take_over(self, name: str, rows: Iterable[tuple[float, float]]) -> None:
        """What was kept of a series before a restart, in order of time."""
        self._pasts[name].extend(rows)

    def add(self, at: float, values: Mapping[str, float]) -> None:
        for name, past in self._pasts.items():
            past.add(at, values.get(name, math.nan))

    @property
    def usual(self) -> dict[str, Usual]:
        """By name, where there is enough past."""
        found = ((name, past.usual) for name, past in self._pasts.items())
        return {name: usual for name, usual in found if usual is not None}
