"""When a run is due. Pure: times of the day in UTC, moments in epoch seconds."""

from __future__ import annotations

from collections.abc import Sequence

DAY_S = 86400.0


def last_due(at: Sequence[str], now: float) -> float:
    """The latest moment, not after `now`, at which one of the times of the day ("02:00") came."""
    midnight = now // DAY_S * DAY_S
    today = [midnight + _seconds(time) for time in at]
    return max(moment if moment <= now else moment - DAY_S for moment in today)


def next_due(at: Sequence[str], now: float) -> float:
    """The first moment after `now`."""
    return min(last_due([time], now) + DAY_S for time in at)


def is_due(at: Sequence[str], begun: float, now: float) -> bool:
    """Whether one of the times came since a run was last begun; several missed ones are one."""
    return begun < last_due(at, now)


def _seconds(time: str) -> float:
    hours, minutes = time.split(":")
    return int(hours) * 3600.0 + int(minutes) * 60.0
