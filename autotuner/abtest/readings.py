"""What the hardware's gauges say of a stretch of time; never which arm ran in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from autotuner.domain.telemetry import Reading

POWER_W, TEMPERATURE_C, OUT_OF_MEMORY = "power_w", "temperature_c", "out_of_memory_total"
GAUGES = (POWER_W, TEMPERATURE_C, OUT_OF_MEMORY)

# Chosen: a hole of more cycles than this, or of more than this share of the time, is no curve.
_HOLE_CYCLES, _HOLE_SHARE = 3.0, 0.5


def energy_j(readings: Sequence[Reading], start: float, end: float) -> float:
    """The energy (J) from `start` to `end`: the power's integral by the trapezoid rule.

    NaN where the power is not known throughout: the readings, or those nearest to an end, lie
    further apart than three of their usual (median) distances or half of the time.
    """
    known = [(r.at, r.gauges[POWER_W]) for r in readings if _has(r, POWER_W)]
    if len(known) < 2 or not end > start:
        return math.nan
    at, power_w = (np.asarray(column) for column in zip(*known, strict=True))
    hole_s = min(_HOLE_CYCLES * float(np.median(np.diff(at))), _HOLE_SHARE * (end - start))
    inside = at[(at > start) & (at < end)]
    edges = _covering(at, start, end)
    if edges is None or np.diff(np.concatenate([edges[:1], inside, edges[1:]])).max() > hole_s:
        return math.nan
    grid = np.concatenate([[start], inside, [end]])
    return float(np.trapezoid(np.interp(grid, at, power_w), grid))


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


def _covering(
    at: np.ndarray[tuple[int], np.dtype[np.float64]], start: float, end: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """The last reading at or before `start` and the first at or after `end`, if both are there."""
    before, after = at[at <= start], at[at >= end]
    if not (before.size and after.size):
        return None
    return np.asarray([before[-1], after[0]], dtype=np.float64)
