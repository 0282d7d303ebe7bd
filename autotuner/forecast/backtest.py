"""Tries a model on the held-out end of a series, and forecasts with what that taught. Pure.

Knows nothing of where a model's curve comes from: see `Curve`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast.bands import Kind, banded, from_model, log_scale, to_model
from autotuner.forecast.series import FloatArray, Series, noise_sd

# The curve that a model expects at some times (UTC seconds, shape (m,)), learnt from a series.
Curve: TypeAlias = Callable[[Series, FloatArray], FloatArray]

# Chosen: enough to learn from before the cut, enough errors after it to read quantiles from.
HELD_OUT_SHARE = 1.0 / 3.0
MIN_TRIED_POINTS = 60
_MIN_PAIRS = 20
_CARRIES = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class Tried:
    """A model's forecast and how it did on the end of the series, which it had not seen.

    `error`: mean absolute error over the leads that were asked for, in the scale that suits the
    series; comparable between models of one series, not between series.
    """

    model: str
    points: tuple[ForecastPoint, ...]
    error: float


@dataclass(frozen=True, eq=False)
class _Lead:
    """What was learnt of one lead: the share of a deviation that lives on, and the errors left."""

    carry: float
    errors: FloatArray


def enough(series: Series) -> bool:
    """Whether a model may be tried on the series at all."""
    return len(series) >= MIN_TRIED_POINTS


def tried(
    model: str, series: Series, horizon: FloatArray, kind: Kind, curve: Curve, coverage: float
) -> Tried:
    """The forecast at `horizon`: the curve, plus what lives on of the last value's deviation.

    The curve is learnt from the first two thirds of the series and compared with the last. There
    the share of a deviation that is still there k steps later is chosen, for each k by itself,
    between 0 (the curve alone) and 1 (the last value is carried on), by the least absolute error:
    a burst weighs no more than it is long. The interval of each lead holds the share `coverage`
    of the errors left: split conformal prediction (Papadopoulos et al., Inductive confidence
    machines for regression, 2002), one tail at a time, since errors of rates and latencies are
    skewed. Raises ValueError for fewer than 60 points.
    """
    if not enough(series):
        raise ValueError(f"series: {len(series)} points; at least {MIN_TRIED_POINTS} are needed")
    scale = log_scale(series.values, kind)
    whole = Series(series.times, to_model(series.values, scale), series.step_s)
    leads = _leads_of(whole, horizon)
    held_out = _held_out_residuals(whole, curve)
    learnt = {int(k): _learnt(held_out, int(k)) for k in np.unique(leads)}
    expected = curve(whole, np.append(horizon, whole.times[-1]))
    deviation = float(whole.values[-1] - expected[-1])
    rows = []
    for at, base, k in zip(horizon, expected[:-1], leads, strict=True):
        value = base + learnt[int(k)].carry * deviation
        below, above = _tails(learnt[int(k)].errors, int(k), coverage)
        rows.append((at, *from_model(np.array([value, value + below, value + above]), scale)))
    error = float(np.mean([np.abs(lead.errors).mean() for lead in learnt.values()]))
    return Tried(model, banded(rows, kind, noise_sd(series.values)), error)


def _leads_of(series: Series, horizon: FloatArray) -> FloatArray:
    """Steps from the last value to each time; a time that is already under way counts as one."""
    steps = np.round((horizon - series.times[-1]) / series.step_s)
    return np.asarray(np.maximum(steps, 1.0), dtype=np.float64)


def _held_out_residuals(series: Series, curve: Curve) -> FloatArray:
    """Value less curve for each step of the series' end; NaN where the step has no value."""
    cut = len(series) - max(_MIN_PAIRS, round(len(series) * HELD_OUT_SHARE))
    seen = Series(series.times[:cut], series.values[:cut], series.step_s)
    times = series.times[cut:]
    steps = np.round((times - times[0]) / series.step_s).astype(np.intp)
    residuals = np.full(int(steps[-1]) + 1, np.nan)
    residuals[steps] = series.values[cut:] - curve(seen, times)
    return residuals


def _learnt(residuals: FloatArray, lead: int) -> _Lead:
    now, later = residuals[:-lead], residuals[lead:]
    both = np.isfinite(now) & np.isfinite(later)
    now, later = now[both], later[both]
    if len(now) < _MIN_PAIRS:
        # So far ahead nothing was seen to live on, nor to have gone.
        return _Lead(0.0, residuals[np.isfinite(residuals)])
    left = later - np.outer(_CARRIES, now)  # (carries, pairs)
    best = int(np.abs(left).sum(axis=1).argmin())
    return _Lead(float(_CARRIES[best]), left[best])


def _tails(errors: FloatArray, lead: int, coverage: float) -> tuple[float, float]:
    """The bounds that a further error stays within with probability `coverage`.

    Errors of neighbouring origins k steps ahead share all but one of their k steps, so n of them
    tell as little as n/c independent ones, where c = 1 + 2 Σ (1 − j/k)² over j < k: their
    correlation is about 1 − j/k, that of being beyond a quantile about its square. The quantile
    is that of split conformal prediction, (1 + 1/n) times the share wanted, for that many.
    """
    independent = max(1.0, len(errors) * 3.0 * lead / (2.0 * lead**2 + 1.0))
    share = min(1.0, (1.0 + coverage) / 2.0 * (1.0 + 1.0 / independent))
    below, above = np.quantile(errors, [1.0 - share, share])
    return min(0.0, float(below)), max(0.0, float(above))
