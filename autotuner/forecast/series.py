"""A metric's history made fit for a model: real UTC times, finite values, even steps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Times: TypeAlias = Sequence[float] | Sequence[datetime] | NDArray[np.generic]

DAY_S = 86_400.0
_NORMAL_SD_PER_MAD = 1.4826
_SIGMAS_IN_90 = 3.29  # the width of a normal's central 90%, in standard deviations
_BAND_EPS = 1e-9
_BAND_SHARE_OF_LEVEL = 0.01
# A second count beyond the year 5138 is a count of milliseconds or finer.
_LAST_PLAUSIBLE_S = 1e11


@dataclass(frozen=True, eq=False)
class Series:
    """Medians on an even grid, oldest first; steps without data are absent, not filled.

    `times` and `values`, shape (n,): start of each step (UTC seconds since the epoch, a multiple
    of `step_s`), and the median of what was seen in it.
    """

    times: FloatArray
    values: FloatArray
    step_s: float

    def __len__(self) -> int:
        return len(self.times)

    @property
    def span_s(self) -> float:
        """The time covered, the last step included; 0 when empty."""
        return float(self.times[-1] - self.times[0]) + self.step_s if len(self) else 0.0

    @property
    def constant(self) -> bool:
        return len(self) == 0 or bool(np.ptp(self.values) == 0.0)


def epoch_seconds(times: Times) -> FloatArray:
    """`times` as UTC seconds since the epoch, shape (n,); NaN where a stamp is missing.

    Takes seconds, numpy datetimes of any unit (UTC), or aware datetimes of any zone. Raises
    ValueError for naive datetimes and for numbers that can't be seconds.
    """
    if isinstance(times, np.ndarray) and times.dtype.kind == "M":
        return _from_datetime64(times)
    if len(times) and isinstance(times[0], datetime):
        return np.asarray([_from_datetime(stamp) for stamp in times], dtype=np.float64)
    seconds = np.asarray(times, dtype=np.float64)
    if np.any(np.abs(seconds[np.isfinite(seconds)]) > _LAST_PLAUSIBLE_S):
        raise ValueError(
            f"times: {np.nanmax(seconds):g} is no number of seconds since 1970; "
            "convert milliseconds or nanoseconds to seconds"
        )
    return seconds


def _from_datetime64(times: NDArray[np.generic]) -> FloatArray:
    nanoseconds = times.astype("datetime64[ns]")
    seconds = nanoseconds.astype(np.int64).astype(np.float64) / 1e9
    seconds[np.isnat(nanoseconds)] = np.nan
    return seconds


def _from_datetime(stamp: object) -> float:
    if not isinstance(stamp, datetime) or stamp.tzinfo is None:
        raise ValueError(f"times: {stamp!r} has no time zone; give aware datetimes or UTC seconds")
    return stamp.timestamp()


def clean(
    times: Times,
    values: ArrayLike,
    step_s: float = 300.0,
    start: float = -np.inf,
    end: float = np.inf,
) -> Series:
    """The series within [start, end] as medians per `step_s`.

    Rows with a missing or infinite time or value are dropped; of rows with one time the last
    counts. Raises ValueError when the shapes differ or the times can't be read.
    """
    seconds, numbers = epoch_seconds(times), np.asarray(values, dtype=np.float64)
    if seconds.shape != numbers.shape or seconds.ndim != 1:
        raise ValueError(
            f"times and values: shapes {seconds.shape} and {numbers.shape}; give two equal lists"
        )
    keep = np.isfinite(seconds) & np.isfinite(numbers) & (seconds >= start) & (seconds <= end)
    return _resampled(*_deduplicated(seconds[keep], numbers[keep]), step_s)


def _deduplicated(times: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sorted by time, the last row of each time kept."""
    newest_first, last_index = np.unique(times[::-1], return_index=True)
    return newest_first, values[::-1][last_index]


def _resampled(times: FloatArray, values: FloatArray, step_s: float) -> Series:
    """The median of each step; of an even number of values the mean of the middle two."""
    own_step = np.floor(times / step_s)
    steps, first, count = np.unique(own_step, return_index=True, return_counts=True)
    ranked = values[np.lexsort((values, own_step))]  # by step, then by value
    lower, upper = ranked[first + (count - 1) // 2], ranked[first + count // 2]
    # Half each: the sum of two finite values may be infinite.
    medians = np.where(lower == upper, lower, lower / 2.0 + upper / 2.0)
    return Series(steps * step_s, medians, step_s)


def robust_sd(deviations: FloatArray) -> float:
    """The standard deviation of a normal with this median absolute deviation; 0 when empty."""
    if len(deviations) == 0:
        return 0.0
    return float(_NORMAL_SD_PER_MAD * np.median(np.abs(deviations - np.median(deviations))))


def spread_sd(deviations: FloatArray) -> float:
    """The larger of the robust one and that of a normal with this central 90%; 0 when empty.

    A series that is flat most of the time has no median deviation, yet is no constant.
    """
    if len(deviations) == 0:
        return 0.0
    low, high = np.quantile(deviations, [0.05, 0.95])
    return max(robust_sd(deviations), float(high - low) / _SIGMAS_IN_90)


def noise_sd(values: FloatArray) -> float:
    """The noise from one step to the next, robustly: a slow pattern does not count as noise."""
    return robust_sd(np.diff(values)) / float(np.sqrt(2.0))


def smallest_half_width(level: float, noise: float = 0.0) -> float:
    """The least half-width of a band around `level`.

    A model of a constant series has a band of no width, and any jitter would be an anomaly: so at
    least 1% of the level and one standard deviation of the noise (both chosen).
    """
    return max(_BAND_EPS, _BAND_SHARE_OF_LEVEL * abs(level), noise)


def grid_after(now: float, horizon_s: float, step_s: float) -> FloatArray:
    """The steps from the one that holds `now` through now + horizon_s; never empty."""
    first = np.floor(now / step_s)
    last = max(first, np.floor((now + horizon_s) / step_s))
    return np.arange(first, last + 1.0, dtype=np.float64) * step_s
