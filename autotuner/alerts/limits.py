"""When a value is too high or too low: fixed limits, and limits from a series' own past. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from autotuner.alerts.usual import Usual
from autotuner.domain.errors import ConfigError

# About 3.3 standard deviations of a normal series. At one swing, three minutes below P5 happened
# two to six times a day in the steadiness of Poisson arrivals; at two, less than once.
_SWINGS = 2.0


class LimitKind(StrEnum):
    """How a limit is given; the values are the keys of a policy's rule."""

    ABOVE = "above"
    BELOW = "below"
    TIMES_P99 = "times_p99"
    DOWN = "down"


@dataclass(frozen=True)
class Limit:
    """A level that a series must not cross, and how far back it must come to be well again.

    ABOVE and BELOW: `figure` is the level. TIMES_P99: above `figure` times the P99 of the series'
    own past. DOWN: more than the share `figure` below the median of its past, and twice as far
    below it as the lowest 5% of that past, so that a series that swings by more than `figure` by
    chance or every night is not reported each time.
    Well again is a value at `clear` (fixed levels only), or past the level by `margin` of it.
    Raises ConfigError for a limit that could never work.
    """

    kind: LimitKind
    figure: float
    clear: float | None = None
    margin: float = 0.05

    def __post_init__(self) -> None:
        key = self.kind.value
        if not math.isfinite(self.figure):
            raise ConfigError(f"{key}={self.figure!r}: give a finite number")
        if self.kind is LimitKind.TIMES_P99 and self.figure <= 0:
            raise ConfigError(f"{key}={self.figure!r}: give a factor above 0, such as 2")
        if self.kind is LimitKind.DOWN and not 0 < self.figure < 1:
            raise ConfigError(f"{key}={self.figure!r}: give a share between 0 and 1, such as 0.05")
        if not 0 <= self.margin < 1:
            raise ConfigError(f"margin={self.margin!r}: give 0 to below 1")
        if self.clear is not None:
            self._check_clear(self.clear)

    def _check_clear(self, clear: float) -> None:
        if self.relative:
            raise ConfigError(f"clear={clear!r}: {self.kind.value} has a margin; leave clear out")
        if not self._excess(clear, self.figure) <= 0:
            side = "at or below" if self.upper else "at or above"
            raise ConfigError(f"clear={clear!r}: give a level {side} {self.figure:g}")

    @property
    def relative(self) -> bool:
        """Whether the level follows from the series' own past."""
        return self.kind in (LimitKind.TIMES_P99, LimitKind.DOWN)

    @property
    def upper(self) -> bool:
        """Whether higher is worse."""
        return self.kind in (LimitKind.ABOVE, LimitKind.TIMES_P99)

    def level(self, usual: Usual | None) -> float:
        """The level in the series' unit; NaN while its past says nothing."""
        if not self.relative:
            return self.figure
        if usual is None:
            return math.nan
        if self.kind is LimitKind.TIMES_P99:
            return self.figure * usual.p99 if usual.p99 > 0 else math.nan
        return self._lowered(usual) if usual.median > 0 else math.nan

    def _lowered(self, usual: Usual) -> float:
        swing = usual.median - usual.p05
        return usual.median - max(self.figure * usual.median, _SWINGS * swing)

    def crossed(self, value: float, level: float) -> bool:
        return self._excess(value, level) > 0

    def well(self, value: float, level: float) -> bool:
        """Whether `value` is back by the whole hysteresis."""
        back = -self.margin * abs(level)
        if self.clear is not None:
            back = self._excess(self.clear, level)
        return self._excess(value, level) <= back

    def _excess(self, value: float, level: float) -> float:
        return value - level if self.upper else level - value

    def words(self, level: float) -> str:
        """Such as `above 0.8 (2 × its P99)`."""
        side = "above" if self.upper else "below"
        if self.kind is LimitKind.TIMES_P99:
            return f"{side} {level:.4g} ({self.figure:g} × its P99)"
        if self.kind is LimitKind.DOWN:
            return f"{side} {level:.4g} (down more than {self.figure:.3g} of its median)"
        return f"{side} {level:g}"
