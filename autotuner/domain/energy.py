"""Energy between two moments, from what meters told at each: hardware counters, else power. Pure.

A counter is exact however seldom it is read; power is integrated by the trapezoid rule. What was
not measured is NaN, never 0 and never less than there was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Chosen: more than one processor socket can draw. A counter that wraps is read too seldom where a
# load of that power could have taken it once around; a rise beyond it is no wrap but a reset.
WRAPPING_LIMIT_W = 1000.0
# Chosen: between readings of power that lie further apart its curve is not known.
POWER_GAP_S = 60.0

COUNTER, POWER = "counter", "power"
# What a window's energy comes to, as series for rules and people.
PER_TOKEN, PER_REQUEST = "energy_j_per_token", "energy_j_per_request"
ENERGY_SERIES = (PER_TOKEN, PER_REQUEST)


@dataclass(frozen=True)
class Meter:
    """What one source (`nvml`, `dcgm`, `rapl`) tells at a moment, by device.

    `counters_j`: joules since some moment in the past; where `ranges_j` names a device its counter
    begins anew at 0 after so many joules. `power_w`: watts now. Each of the two is there for all
    of the source's devices or for none: a part of them would read as a saving.
    """

    counters_j: Mapping[str, float] = field(default_factory=dict)
    ranges_j: Mapping[str, float] = field(default_factory=dict)
    power_w: Mapping[str, float] = field(default_factory=dict)

    @property
    def devices(self) -> frozenset[str]:
        return frozenset(self.counters_j) | frozenset(self.power_w)

    @property
    def tells(self) -> bool:
        return bool(self.counters_j or self.power_w)

    @property
    def patience_s(self) -> float:
        """How far two readings may lie apart before a counter could have gone around unseen."""
        return min(self.ranges_j.values(), default=math.inf) / WRAPPING_LIMIT_W


# What all sources of a target told at a moment, by source; None: one that should tell and did not.
Metering = Mapping[str, Meter | None]


@dataclass(frozen=True)
class Stretch:
    """From `start_s` to `end_s` after the first of two readings that lie `gap_s` apart."""

    gap_s: float
    start_s: float
    end_s: float

    @classmethod
    def whole(cls, gap_s: float) -> Stretch:
        return cls(gap_s, 0.0, gap_s)

    @property
    def share(self) -> float:
        return (self.end_s - self.start_s) / self.gap_s


@dataclass(frozen=True)
class Joules:
    """`value`: NaN where it is not known; `method`: COUNTER or POWER."""

    value: float
    method: str = COUNTER


def known(metering: Metering) -> bool:
    """Whether energy is measured here, and all who measure it did."""
    return bool(metering) and all(m is not None and m.tells for m in metering.values())


def complete(metering: Metering, devices: Mapping[str, frozenset[str]]) -> bool:
    """Whether all who measure did, for exactly these `devices` by source."""
    return known(metering) and devices == {s: m.devices for s, m in metering.items() if m}


def all_devices(meterings: Iterable[Metering]) -> dict[str, frozenset[str]]:
    """Every device that any of them told of, by source."""
    found: dict[str, frozenset[str]] = {}
    for metering in meterings:
        for source, meter in metering.items():
            if meter is not None and meter.tells:
                found[source] = found.get(source, frozenset()) | meter.devices
    return found


def used(
    before: Metering, after: Metering, stretch: Stretch, hole_s: float = POWER_GAP_S
) -> dict[str, Joules]:
    """The energy of each source in a stretch between two readings; empty where nothing measures.

    Counters give the energy between the readings, and its share by time where the stretch is a
    part of that; else the power's integral between them. NaN where a source told one side only;
    where its counters were reset, wrapped unseen or are of other devices and it tells no power;
    and for readings further apart than `hole_s`, unless counters cover them whole.
    """
    return {
        source: _of_source(before.get(source), after.get(source), stretch, hole_s)
        for source in dict.fromkeys((*before, *after))
    }


def total_j(parts: Mapping[str, Joules]) -> float:
    """All sources together (J); NaN where one is not known, or there is none."""
    return math.fsum(p.value for p in parts.values()) if parts else math.nan


def _of_source(
    before: Meter | None, after: Meter | None, stretch: Stretch, hole_s: float
) -> Joules:
    if before is None or after is None:
        return Joules(math.nan)
    apart = stretch.gap_s > hole_s
    counted = _counted_j(before, after, stretch.gap_s)
    if math.isfinite(counted) and not (apart and stretch.share < 1):
        return Joules(counted * stretch.share)
    return Joules(math.nan if apart else _integral_j(before.power_w, after.power_w, stretch), POWER)


def _counted_j(before: Meter, after: Meter, gap_s: float) -> float:
    """What the counters rose by between the readings (J)."""
    if not before.counters_j or before.counters_j.keys() != after.counters_j.keys():
        return math.nan
    return math.fsum(
        _rise_j(was, after.counters_j[device], after.ranges_j.get(device), gap_s)
        for device, was in before.counters_j.items()
    )


def _rise_j(was: float, now: float, range_j: float | None, gap_s: float) -> float:
    if range_j is None:
        return now - was if now >= was else math.nan  # it fell: counted anew since who knows when
    at_most_j = gap_s * WRAPPING_LIMIT_W
    rise = now - was if now >= was else now - was + range_j
    return rise if rise <= at_most_j < range_j else math.nan


def _integral_j(
    before_w: Mapping[str, float], after_w: Mapping[str, float], stretch: Stretch
) -> float:
    """Power is a straight line between the readings (trapezoid rule)."""
    if not before_w or before_w.keys() != after_w.keys():
        return math.nan
    first, last = math.fsum(before_w.values()), math.fsum(after_w.values())
    middle_s = (stretch.start_s + stretch.end_s) / 2
    mean_w = first + (last - first) * middle_s / stretch.gap_s
    return mean_w * (stretch.end_s - stretch.start_s)
