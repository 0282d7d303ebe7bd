"""How often values fell inside the forecast's interval: whether intervals mean what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.domain.forecasts import Forecast

# A week of points at 5 minutes: an interval for 99% is missed about 20 times in it.
KEPT_POINTS = 2016


@dataclass(frozen=True)
class Coverage:
    """The last values of one series that had a forecast. Start with `Coverage()`."""

    inside: tuple[bool, ...] = ()

    def seen(self, forecast: Forecast | None, at: float, value: float) -> Coverage:
        """With the value of the step that began at `at` (UTC seconds).

        Nothing changes for a value that is not finite, or that the forecast does not reach, or
        that was known when the forecast was made.
        """
        if forecast is None or not math.isfinite(value) or at + forecast.step_s <= forecast.made_at:
            return self
        point = forecast.at(at)
        if point is None:
            return self
        return Coverage((*self.inside, point.low <= value <= point.high)[-KEPT_POINTS:])

    @property
    def points(self) -> int:
        return len(self.inside)

    @property
    def share(self) -> float:
        """The share that fell inside, 0..1; NaN before the first value."""
        return sum(self.inside) / len(self.inside) if self.inside else math.nan
