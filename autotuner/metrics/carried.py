"""Counters that go on over a restart: what earlier starts counted is added to what is told now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Histogram, Snapshot


class Carry:
    """One server's counts over its restarts. For one thread at a time."""

    def __init__(self) -> None:
        self._last: Snapshot | None = None
        self._carried = Snapshot(0.0)

    def on(self, now: Snapshot) -> Snapshot:
        """`now` with what earlier starts had counted.

        Raises TargetUnavailableError where the buckets are others than before the restart.
        """
        if self._last is not None and restarted(self._last, now):
            self._carried = plus(self._last, self._carried)
        self._last = now
        return plus(now, self._carried)


def restarted(before: Snapshot, now: Snapshot) -> bool:
    """Whether the server was started anew between the two."""
    starts = before.gauges.get("started_at"), now.gauges.get("started_at")
    if None not in starts and starts[0] != starts[1]:
        return True
    fell = any(now.counters.get(name, 0.0) < value for name, value in before.counters.items())
    return fell or any(
        name not in now.histograms or now.histograms[name].count < seen.count
        for name, seen in before.histograms.items()
    )


def plus(now: Snapshot, carried: Snapshot) -> Snapshot:
    """`now` with the counts of both."""
    counters = added([now.counters, carried.counters])
    return replace(
        now, counters=counters, histograms=added_histograms([now.histograms, carried.histograms])
    )


def added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """A counter that a replica does not tell is one that it has not had to count yet."""
    found: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = found.get(name, 0.0) + value
    return found


def added_histograms(parts: Iterable[Mapping[str, Histogram]]) -> dict[str, Histogram]:
    """Raises TargetUnavailableError where the buckets differ."""
    found: dict[str, Histogram] = {}
    for part in parts:
        for name, seen in part.items():
            found[name] = _sum(name, found[name], seen) if name in found else seen
    return found


def _sum(name: str, one: Histogram, other: Histogram) -> Histogram:
    if one.bounds != other.bounds:
        raise TargetUnavailableError(
            f"histogram {name}: the replicas have different buckets, so that they can't be added "
            "up: run the same version on all of them"
        )
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return Histogram(one.bounds, counts, one.total + other.total)
