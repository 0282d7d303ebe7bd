"""What the hardware's gauges and meters say of a stretch of time; never which arm ran in it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from autotuner.domain.energy import Stretch, all_devices, complete, total_j, used
from autotuner.domain.telemetry import Reading

TEMPERATURE_C, OUT_OF_MEMORY = "temperature_c", "out_of_memory_total"
GAUGES = (TEMPERATURE_C, OUT_OF_MEMORY)

# Chosen: a hole of more cycles than this, or of more than this share of the time, is no curve.
_HOLE_CYCLES, _HOLE_SHARE = 3.0, 0.5


def energy_j(readings: Sequence[Reading], start: float, end: float) -> float:
    """The energy (J) from `start` to `end` of all devices that any of the readings tell of.

    From hardware counters where they are, else the power's integral (`domain.energy.used`). NaN
    where it is not known throughout: the readings that power is integrated over, or those nearest
    to an end, lie further apart than three of their usual (median) distances or half of the time.
    """
    devices = all_devices(r.energy for r in readings)
    told = [r for r in readings if complete(r.energy, devices)]
    if len(told) < 2 or not told[0].at <= start < end <= told[-1].at:
        return math.nan
    usual_s = statistics.median(b.at - a.at for a, b in pairwise(told))
    hole_s = min(_HOLE_CYCLES * usual_s, _HOLE_SHARE * (end - start))
    return math.fsum(
        total_j(used(before.energy, after.energy, stretch, hole_s))
        for before, after in pairwise(told)
        if (stretch := _overlap(before.at, after.at, start, end)) is not None
    )


def _overlap(before: float, after: float, start: float, end: float) -> Stretch | None:
    """What two readings have in common with the time asked for."""
    first, last = max(before, start), min(after, end)
    return Stretch(after - before, first - before, last - before) if last > first else None


def hottest_c(readings: Sequence[Reading], start: float, end: float) -> float:
    """The highest temperature (°C) that was read from `start` to `end`; NaN without a reading."""
    seen = [heat for at, heat in temperatures(readings) if start <= at <= end]
    return max(seen, default=math.nan)


def out_of_memory(readings: Sequence[Reading], start: float, end: float) -> int:
    """Out-of-memory events that were first seen after `start` and up to `end`."""
    return round(sum(events for at, events in memory_events(readings) if start < at <= end))


def temperatures(readings: Sequence[Reading]) -> list[tuple[float, float]]:
    """When a temperature was read, and how high it was (°C)."""
    return [(r.at, r.gauges[TEMPERATURE_C]) for r in readings if _has(r, TEMPERATURE_C)]


def memory_events(readings: Sequence[Reading]) -> list[tuple[float, float]]:
    """When out-of-memory events were first seen, and how many.

    A counter that fell began anew, and what it shows has happened since; the first reading of all
    only says where the counting begins.
    """
    known = [(r.at, r.gauges[OUT_OF_MEMORY]) for r in readings if _has(r, OUT_OF_MEMORY)]
    rises = [(at, now - was if now >= was else now) for (_, was), (at, now) in pairwise(known)]
    return [(at, rise) for at, rise in rises if rise > 0]


def _has(reading: Reading, name: str) -> bool:
    return name in reading.gauges and math.isfinite(reading.gauges[name])
