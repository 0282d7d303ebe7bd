"""Several sources as one: the metrics of replicas added up into those of the whole target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from autotuner.domain.energy import Meter, Metering
from autotuner.domain.ports import MetricsSource
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.carried import Carry, added, added_histograms

Gauges = Mapping[str, float]


class MergedSource:
    """Implements `domain.ports.MetricsSource` over several sources; for one thread at a time.

    Counters and histograms add up. A replica that was started anew goes on from where it was, so
    that its restart neither hides what the others did nor counts it twice. Of gauges, amounts
    (requests, power) add up where all replicas tell them, of temperatures and cache usage the
    highest counts, and the rest are means over the replicas that tell them. The devices whose
    energy they tell stand side by side; where one does not tell it, nobody does.
    """

    def __init__(self, sources: Sequence[MetricsSource]) -> None:
        if not sources:
            raise ValueError("no sources to merge: give one or more")
        self._replicas = [(source, Carry()) for source in sources]

    def snapshot(self) -> Snapshot:
        """The sum, as of the last replica's scrape.

        Raises TargetUnavailableError when a replica was not read (a sum of fewer would read as
        less traffic), or its histograms have other buckets than the rest.
        """
        seen = [carry.on(source.snapshot()) for source, carry in self._replicas]
        return Snapshot(
            at=max(one.at for one in seen),
            counters=added([one.counters for one in seen]),
            gauges=_gauges([one.gauges for one in seen]),
            histograms=added_histograms([one.histograms for one in seen]),
            energy=_energy([one.energy for one in seen]),
        )


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


def _energy(parts: Sequence[Metering]) -> dict[str, Meter | None]:
    sources = dict.fromkeys(source for part in parts for source in part)
    return {source: _side_by_side([part.get(source) for part in parts]) for source in sources}


def _side_by_side(meters: Sequence[Meter | None]) -> Meter | None:
    told = [meter for meter in meters if meter is not None]
    if len(told) < len(meters):
        return None
    return Meter(
        _apart([meter.counters_j for meter in told]),
        _apart([meter.ranges_j for meter in told]),
        _apart([meter.power_w for meter in told]),
    )


def _apart(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Devices of all replicas, each under a name of its own; none where one has none."""
    numbered = {f"{i}/{name}": x for i, part in enumerate(parts) for name, x in part.items()}
    return numbered if all(parts) else {}
