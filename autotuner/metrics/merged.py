"""Several sources as one: the metrics of replicas added up into those of the whole target."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.ports import MetricsSource
from autotuner.domain.telemetry import Histogram, Snapshot

Gauges = Mapping[str, float]


class MergedSource:
    """Implements `domain.ports.MetricsSource` over several sources; for one thread at a time.

    Counters and histograms add up. A replica that was started anew goes on from where it was, so
    that its restart neither hides what the others did nor counts it twice. Of gauges, amounts
    (requests, power) add up where all replicas tell them, of temperatures and cache usage the
    highest counts, and the rest are means over the replicas that tell them.
    """

    def __init__(self, sources: Sequence[MetricsSource]) -> None:
        if not sources:
            raise ValueError("no sources to merge: give one or more")
        self._replicas = [_Continued(source) for source in sources]

    def snapshot(self) -> Snapshot:
        """The sum, as of the last replica's scrape.

        Raises TargetUnavailableError when a replica was not read (a sum of fewer would read as
        less traffic), or its histograms have other buckets than the rest.
        """
        seen = [replica.snapshot() for replica in self._replicas]
        return Snapshot(
            at=max(one.at for one in seen),
            counters=_added([one.counters for one in seen]),
            gauges=_gauges([one.gauges for one in seen]),
            histograms=_histograms([one.histograms for one in seen]),
        )


@dataclass
class _Continued:
    """A source whose counters never fall: what earlier starts had counted is carried on."""

    source: MetricsSource
    last: Snapshot | None = None
    carried: Snapshot = field(default_factory=lambda: Snapshot(0.0))

    def snapshot(self) -> Snapshot:
        now = self.source.snapshot()
        if self.last is not None and _restarted(self.last, now):
            self.carried = _plus(self.last, self.carried)
        self.last = now
        return _plus(now, self.carried)


def _restarted(before: Snapshot, now: Snapshot) -> bool:
    starts = before.gauges.get("started_at"), now.gauges.get("started_at")
    if None not in starts and starts[0] != starts[1]:
        return True
    fell = any(now.counters.get(name, 0.0) < value for name, value in before.counters.items())
    return fell or any(
        name not in now.histograms or now.histograms[name].count < seen.count
        for name, seen in before.histograms.items()
    )


def _plus(now: Snapshot, carried: Snapshot) -> Snapshot:
    counters = _added([now.counters, carried.counters])
    return replace(
        now, counters=counters, histograms=_histograms([now.histograms, carried.histograms])
    )


def _added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """A counter that a replica does not tell is one that it has not had to count yet."""
    found: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = found.get(name, 0.0) + value
    return found


def _histograms(parts: Iterable[Mapping[str, Histogram]]) -> dict[str, Histogram]:
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


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


# As for the engines of one server (`canonical`): amounts add up, the fullest cache is the one that
# preempts; the hottest device is the one that is throttled.
_COMBINE: Mapping[str, Callable[[Sequence[float]], float]] = {
    "running": sum,
    "waiting": sum,
    "power_w": sum,
    "out_of_memory_total": sum,
    "temperature_c": max,
    "kv_usage": max,
    "gpu_memory_usage": max,
    "host_memory_usage": max,
    "host_load_ratio": max,
    "host_temperature_c": max,
    "generation": sum,
}
# One replica's start is not the whole's; that it was started anew is dealt with above.
_OMITTED = frozenset({"started_at"})


def _gauges(parts: Sequence[Gauges]) -> dict[str, float]:
    found = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        told = [part[name] for part in parts if name in part]
        combine = _COMBINE.get(name, _mean)
        partial = combine is sum and len(told) < len(parts)  # would be less than there is
        if not partial and name not in _OMITTED:
            found[name] = combine(told)
    return found
