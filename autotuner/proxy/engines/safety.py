"""Which settings a server starts with after a death, and how long to wait before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.proxy.ports import Value

Settings = Mapping[str, Value]

_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0  # chosen
_TRIES_EACH = 3  # chosen: then the next settings that once were known to serve have their turn


@dataclass(frozen=True)
class Track:
    """`safe`: last served for long enough. `configured`: those of the configuration file."""

    current: Settings
    safe: Settings | None
    configured: Settings


def proven(track: Track, served_s: float, healthy_s: float) -> Track:
    """The track once the current settings have served well for `served_s`."""
    if served_s < healthy_s or track.safe == track.current:
        return track
    return Track(track.current, track.current, track.configured)


def after_death(track: Track, failed_tries: int) -> Settings:
    """The settings for the next try; 0 failed tries at the first one after a death.

    Settings newer than the safe ones are to blame and are left at once. The same settings are
    tried again: a server that served well may die of something else.
    """
    order: list[Settings] = []
    for settings in (track.safe or track.current, track.configured):
        if settings not in order:
            order.append(settings)
    return order[(failed_tries // _TRIES_EACH) % len(order)]


def wait_s(failed_tries: int) -> float:
    """Before the next try: none at first, then doubling up to a minute."""
    if failed_tries == 0:
        return 0.0
    return min(_FIRST_WAIT_S * 2.0 ** min(failed_tries - 1, 16), _LONGEST_WAIT_S)
