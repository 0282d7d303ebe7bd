"""Made-up series of the kinds that are forecast: seasons, a trend, noise, and gaps. Pure."""

from __future__ import annotations

import numpy as np

from autotuner.forecast.bands import Kind
from autotuner.forecast.series import DAY_S, FloatArray
from autotuner.forecast.service import Past

NOW = 20_020 * DAY_S  # any will do
# What is forecast of each target: a rate, a share and two latencies.
KINDS = (Kind.RATE, Kind.SHARE, Kind.LATENCY, Kind.LATENCY)
_HOLES = 3
_HOLE_SHARE = 0.02  # of the series, at most
_LOST_SHARE = 0.01  # of the points, one here and there
_MEMORY_STEPS = 12


def past(number: int, points: int, step_s: float, seed: int) -> Past:
    """Series `number` until `NOW`: one value a step for `points` steps, less those in gaps.

    The same arguments give the same series.
    """
    rng = np.random.default_rng((seed, number))
    times = NOW - step_s * np.arange(points, 0, -1, dtype=np.float64)
    kind = KINDS[number % len(KINDS)]
    values = _valued(_load(times, rng), _noise(points, rng), kind, rng)
    kept = ~_gaps(points, rng)
    return Past(f"{kind.value}_{number}", times[kept], values[kept], kind)


def _load(times: FloatArray, rng: np.random.Generator) -> FloatArray:
    """About 1: two waves a day, quieter weekends, up or down by a tenth over the whole."""
    day = 2 * np.pi * (times / DAY_S + rng.uniform())
    weekend = (np.floor(times / DAY_S) + int(rng.integers(7))) % 7 >= 5
    trend = rng.uniform(-0.1, 0.1) * np.linspace(0.0, 1.0, len(times))
    waves = rng.uniform(0.2, 0.4) * np.sin(day) + rng.uniform(0.0, 0.15) * np.sin(2 * day)
    return np.asarray(1.0 + waves - rng.uniform(0.1, 0.25) * weekend + trend)


def _noise(points: int, rng: np.random.Generator) -> FloatArray:
    """Deviation 1: half of the variance lasts about an hour of steps, half is new at each step."""
    lasting = np.convolve(rng.normal(size=points + _MEMORY_STEPS - 1), np.ones(_MEMORY_STEPS))
    lasting = lasting[_MEMORY_STEPS - 1 :][:points] / np.sqrt(_MEMORY_STEPS)
    return np.asarray((lasting + rng.normal(size=points)) / np.sqrt(2.0))


def _valued(
    load: FloatArray, noise: FloatArray, kind: Kind, rng: np.random.Generator
) -> FloatArray:
    if kind is Kind.RATE:
        return np.asarray(rng.uniform(2.0, 200.0) * np.maximum(0.0, load + 0.08 * noise))
    if kind is Kind.SHARE:
        return np.asarray(np.clip(1.0 - 0.03 * load**2 * np.exp(0.3 * noise), 0.0, 1.0))
    return np.asarray(rng.uniform(0.05, 5.0) * np.exp(load + 0.2 * noise))


def _gaps(points: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    gaps = rng.uniform(size=points) < _LOST_SHARE
    for start in rng.integers(0, points, size=_HOLES):
        gaps[start : start + int(rng.integers(1, 2 + int(_HOLE_SHARE * points)))] = True
    return gaps
