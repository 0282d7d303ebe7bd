"""Whether the load that is forecast can be served by the settings in force. Pure.

Remembers the minutes that were seen under each settings; knows neither forecasts' models nor tests.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from autotuner.alerts.capacity import Capacity, Minute, capacity
from autotuner.domain.forecasts import ForecastPoint
from autotuner.domain.telemetry import Histogram

MINUTE_S = 60.0
KEPT_MINUTES = 24 * 60  # a day has its peak in it; older workloads say little of today's
KEPT_SETTINGS = 8
_RELIEF = 0.9  # chosen: a peak below this share of the capacity is no worry any more

Settings = Hashable


@dataclass(frozen=True)
class Look:
    """One cycle between tests. `settings` in force; `histograms` of its window, as they came.

    `attainment` is 0..1 or NaN; `places`: requests that may run at once, None where not known.
    """

    at: float
    settings: Settings
    rate_rps: float
    attainment: float
    places: float | None = None
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """`exceeds` is None where nothing is known, or the peak lies inside the hysteresis."""

    exceeds: bool | None
    text: str = ""
    capacity: Capacity | None = None


_UNKNOWN = Judgement(None)


class Outlook:
    """Learns what the settings in force can serve, and sets a forecast against it.

    `goal`: the attainment below which a minute counts as missed.
    """

    def __init__(self, goal: float) -> None:
        self._goal = goal
        self._minutes: OrderedDict[Settings, deque[Minute]] = OrderedDict()
        self._running: tuple[float, Settings] | None = None  # since when, under what
        self._time = {"e2el_s": [0.0, 0.0], "queue_s": [0.0, 0.0]}
        self._capacity: Capacity | None = None

    def learn(self, look: Look) -> None:
        """Takes one cycle; a minute counts when it ran under one settings from end to end."""
        if self._running is None or self._running[1] != look.settings:
            self._begin(look)
            self._rejudge(look)
            return
        for name, sums in self._time.items():
            if name in look.histograms:
                sums[0] += look.histograms[name].total
                sums[1] += look.histograms[name].count
        if look.at - self._running[0] >= MINUTE_S:
            self._keep(look)
            self._begin(look)
            self._rejudge(look)

    def interrupt(self) -> None:
        """Drops the minute that was begun: a test, or something that can't be trusted, ran in it.

        What can be served stays known; after a change of settings the next look tells.
        """
        self._running = None

    def judge(self, peak: ForecastPoint | None, now: float) -> Judgement:
        """What the highest point of the forecast means for the settings in force."""
        known = self._capacity
        if peak is None or known is None:
            return _UNKNOWN
        if peak.value <= _RELIEF * known.rate_rps:
            return Judgement(False, capacity=known)
        if peak.value <= known.rate_rps:
            return Judgement(None, capacity=known)
        ahead = max(0.0, peak.at - now) / 60.0
        text = (
            f"{peak.value:.3g} requests per second are forecast in {ahead:.0f} min; these settings "
            f"can serve {known.rate_rps:.3g} ({known.basis})"
        )
        return Judgement(True, text, known)

    def _begin(self, look: Look) -> None:
        self._running = (look.at, look.settings)
        self._time = {name: [0.0, 0.0] for name in self._time}

    def _keep(self, look: Look) -> None:
        kept = self._minutes.setdefault(look.settings, deque(maxlen=KEPT_MINUTES))
        self._minutes.move_to_end(look.settings)
        while len(self._minutes) > KEPT_SETTINGS:
            self._minutes.popitem(last=False)
        whole, waiting = (_mean(self._time[name]) for name in ("e2el_s", "queue_s"))
        service_s = whole - (waiting if math.isfinite(waiting) else 0.0)
        kept.append(Minute(look.rate_rps, service_s, look.attainment))

    def _rejudge(self, look: Look) -> None:
        kept = self._minutes.get(look.settings, ())
        self._capacity = capacity(tuple(kept), look.places, self._goal)


def _mean(sums: list[float]) -> float:
    return sums[0] / sums[1] if sums[1] > 0 else math.nan
