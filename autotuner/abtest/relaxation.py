"""The time constant with which a target forgets: from how it settles after switches, or from how
its seconds hang together. Pure figures; never what follows for a test.

Both fit a·exp(−t/τ) + c by least squares over a grid of τ: c takes up what changes far more slowly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Chosen: an amplitude below three standard errors is taken for noise.
_LEAST_Z = 3.0
_MAX_LAG_S = 240.0
_LAG_SHARE = 1 / 8  # of the series; longer lags rest on too few independent stretches
_GRID = 60
_LEAST_BINS = 60


@dataclass(frozen=True)
class Decay:
    """a·exp(−t/τ) + c as fitted; `z`: the amplitude in standard errors. τ in seconds."""

    tau_s: float
    amplitude: float
    z: float
    at_limit: bool  # τ is the longest that was tried: slower than could be told


def relaxation_of_series(times: Sequence[float], values: Sequence[float], bin_s: float) -> float:
    """τ (s) from the autocorrelation of the mean of `values` per `bin_s`.

    0 where no memory beyond a bin shows; NaN where too little was seen, or where what shows is
    slower than the span can tell (a drift of the load, not a memory of the target).
    """
    series = _binned(np.asarray(times, np.float64), np.asarray(values, np.float64), bin_s)
    if np.isfinite(series).sum() < _LEAST_BINS:
        return math.nan
    lags = max(4, int(min(_MAX_LAG_S / bin_s, len(series) * _LAG_SHARE)))
    correlation, weights = _autocorrelation(_detrended(series), lags)
    if not np.isfinite(correlation).all():
        return 0.0  # a constant series has no memory
    fit = fitted(np.arange(1.0, lags + 1) * bin_s, correlation, weights)
    if fit.z < _LEAST_Z:
        return 0.0
    return math.nan if fit.at_limit else fit.tau_s


def relaxation_of_switches(since_s: Floats, deviations: Floats, longest_s: float) -> float:
    """τ (s) from how far values were from where they settled, that long after a switch.

    `deviations`: signed so that what the old arm leaves behind has one sign. NaN where no decay
    stands out: an arm that changes nothing leaves no trace, which says nothing of τ.
    """
    bins = np.floor(since_s)
    seconds = np.unique(bins[(bins >= 0) & (since_s < longest_s)])
    if len(seconds) < 6:
        return math.nan
    inside = [deviations[bins == second] for second in seconds]
    means = np.array([values.mean() for values in inside])
    counts = np.array([len(values) for values in inside], np.float64)
    spread = float(np.var(deviations)) or 1.0
    fit = fitted(seconds + 0.5, means, counts / spread)
    return fit.tau_s if fit.z >= _LEAST_Z and not fit.at_limit else math.nan


def fitted(at_s: Floats, values: Floats, weights: Floats) -> Decay:
    """The best a·exp(−t/τ) + c; `weights` are inverse variances."""
    longest = (at_s[-1] - at_s[0]) / 2
    taus = np.geomspace(max(at_s[0], 0.5) / 2, max(longest, 1.0), _GRID)
    fits = [_at_tau(float(tau), at_s, values, weights) for tau in taus]
    best = min(range(_GRID), key=lambda index: fits[index][0])
    _, amplitude, z = fits[best]
    return Decay(float(taus[best]), amplitude, z, best == _GRID - 1)


def _at_tau(
    tau: float, at_s: Floats, values: Floats, weights: Floats
) -> tuple[float, float, float]:
    """Weighted sum of squares left, the amplitude, and it in standard errors (one-sided)."""
    curve = np.exp(-at_s / tau)
    total = weights.sum()
    curve_mean, mean = (weights * curve).sum() / total, (weights * values).sum() / total
    x, y = curve - curve_mean, values - mean
    power = float((weights * x * x).sum())
    amplitude = max(0.0, float((weights * x * y).sum()) / power) if power > 0 else 0.0
    left = float((weights * (y - amplitude * x) ** 2).sum())
    return left, amplitude, amplitude * math.sqrt(power)


def _binned(times: Floats, values: Floats, bin_s: float) -> Floats:
    """The mean per bin, NaN where a bin is empty."""
    if not len(times):
        return np.empty(0)
    index = np.floor((times - times.min()) / bin_s).astype(np.int64)
    counts = np.bincount(index)
    sums = np.bincount(index, weights=values)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _detrended(series: Floats) -> Floats:
    known = np.isfinite(series)
    at = np.arange(len(series), dtype=np.float64)
    slope, offset = np.polyfit(at[known], series[known], 1)
    return np.asarray(series - slope * at - offset)


def _autocorrelation(series: Floats, lags: int) -> tuple[Floats, Floats]:
    """The correlation at lags 1..n over the bins that are there, and the number of products."""
    known = np.isfinite(series)
    filled = np.where(known, series, 0.0)
    variance = float((filled**2).sum() / known.sum())
    if not variance > 1e-18:
        return np.full(lags, np.nan), np.ones(lags)
    counts = np.array([(known[:-k] & known[k:]).sum() for k in range(1, lags + 1)], np.float64)
    products = np.array([(filled[:-k] * filled[k:]).sum() for k in range(1, lags + 1)])
    return products / np.maximum(counts, 1) / variance, np.maximum(counts, 1e-9)
