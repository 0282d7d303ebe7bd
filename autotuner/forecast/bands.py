"""What a kind of series can be: its bounds, its tail, and intervals that respect them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import numpy as np

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast.series import FloatArray, smallest_half_width


class Kind(StrEnum):
    """What a series measures: rates and latencies are never negative, shares lie in 0..1."""

    RATE = "rate"
    LATENCY = "latency"
    SHARE = "share"

    @property
    def highest(self) -> float:
        return 1.0 if self is Kind.SHARE else float("inf")


# Chosen: the upper tail at least this many times as long as the lower one.
_HEAVY_TAIL = 3.0


def log_scale(values: FloatArray, kind: Kind) -> float | None:
    """The unit c for log1p(y/c) where that suits a heavy upper tail; None to model y itself.

    The unit is the median: log1p of seconds would change nothing about latencies of milliseconds.
    """
    if kind is Kind.SHARE or values.min() < 0.0:
        return None
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99])
    if middle <= 0.0 or high - middle <= _HEAVY_TAIL * (middle - low):
        return None
    return float(middle)


def to_model(values: FloatArray, scale: float | None) -> FloatArray:
    return values if scale is None else np.log1p(values / scale)


def from_model(values: FloatArray, scale: float | None) -> FloatArray:
    # Beyond e^50 times the median nothing is meant; without a cap the interval may overflow.
    return values if scale is None else np.expm1(np.minimum(values, 50.0)) * scale


def banded(
    rows: Iterable[tuple[float, float, float, float]], kind: Kind, noise: float
) -> tuple[ForecastPoint, ...]:
    """Points (at, value, low, high) with a band of some width, inside what the kind can be."""
    return tuple(_point(*row, kind, noise) for row in rows)


def _point(
    at: float, value: float, low: float, high: float, kind: Kind, noise: float
) -> ForecastPoint:
    half = smallest_half_width(value, noise)
    inside = [
        min(kind.highest, max(0.0, float(x)))
        for x in (value, min(low, value - half), max(high, value + half))
    ]
    return ForecastPoint(float(at), *inside)
