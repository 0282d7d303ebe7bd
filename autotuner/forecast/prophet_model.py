"""One Prophet fit with settings that were measured to be quick and safe. Blocks; takes a second.

Imports Prophet and pandas when it is called, never when it is imported.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast.bands import Kind, banded, from_model, log_scale, to_model
from autotuner.forecast.series import DAY_S, FloatArray, Series, noise_sd

MIN_POINTS = 60
DAILY_SPAN_S = 2 * DAY_S
# Two weeks, less a hole at an edge: the window that is looked at is two weeks long itself.
WEEKLY_SPAN_S = 13.5 * DAY_S
_UNCERTAINTY_SAMPLES = 200
_INTERVAL = 0.99


def fit_and_predict(
    series: Series, horizon: FloatArray, kind: Kind, *, time_limit_s: float, seed: int = 0
) -> tuple[ForecastPoint, ...]:
    """Points with a 99% interval at the times `horizon` (UTC seconds, shape (m,)).

    The same arguments give the same points. Raises ValueError for fewer than 60 points,
    TimeoutError when the fit takes longer than `time_limit_s`, ImportError and RuntimeError when
    Prophet or its Stan backend fails. Model: Taylor and Letham, Forecasting at Scale (2018), with
    a flat trend.
    """
    scale = log_scale(series.values, kind)
    modelled = Series(series.times, to_model(series.values, scale), series.step_s)
    with _numpy_seed(seed):
        predicted = _predicted(modelled, horizon, time_limit_s, samples=_UNCERTAINTY_SAMPLES)
    columns = [predicted[name].to_numpy(copy=True) for name in ("yhat", "yhat_lower", "yhat_upper")]
    rows = zip(horizon, *(from_model(column, scale) for column in columns), strict=True)
    return banded(rows, kind, noise_sd(series.values))


def curve(series: Series, times: FloatArray, time_limit_s: float) -> FloatArray:
    """What Prophet expects at `times` (UTC seconds, shape (m,)), without an interval.

    Raises as `fit_and_predict` does.
    """
    predicted = _predicted(series, times, time_limit_s, samples=0)
    return np.asarray(predicted["yhat"].to_numpy(copy=True), dtype=np.float64)


def _predicted(series: Series, times: FloatArray, time_limit_s: float, *, samples: int) -> Any:
    """Prophet's own table of predictions at `times`, after a fit to `series` as it is."""
    if len(series) < MIN_POINTS:
        raise ValueError(f"series: {len(series)} points; Prophet is given at least {MIN_POINTS}")
    with warnings.catch_warnings():
        # Prophet uses what pandas 3 deprecates; whoever reads our logs can't change that.
        warnings.simplefilter("ignore")
        model = _new_model(series.span_s, samples)
        _fit(model, _frame(series.times, series.values), time_limit_s)
        return model.predict(_frame(times))


def _new_model(span_s: float, samples: int) -> Any:
    """A new object for every fit (Prophet objects fit once)."""
    _silence()
    from prophet import Prophet

    return Prophet(
        growth="flat",  # a linear trend takes ten times as long and extrapolates noise
        daily_seasonality=span_s >= DAILY_SPAN_S,
        weekly_seasonality=span_s >= WEEKLY_SPAN_S,
        yearly_seasonality=False,
        uncertainty_samples=samples,
        interval_width=_INTERVAL,
    )


def _fit(model: Any, frame: Any, time_limit_s: float) -> None:
    # Stan leaves two files per fit until the process ends, unless it is given a folder.
    with tempfile.TemporaryDirectory(prefix="autotuner-prophet-") as folder:
        # When L-BFGS fails Prophet falls back to Newton, which may take half an hour.
        model.fit(frame, output_dir=folder, timeout=time_limit_s)


def _frame(times: FloatArray, values: FloatArray | None = None) -> Any:
    """Prophet's table: UTC stamps without a zone (it refuses zones), in nanoseconds."""
    import pandas as pd

    stamps = np.round(times * 1e9).astype(np.int64).astype("datetime64[ns]")
    return pd.DataFrame({"ds": stamps} if values is None else {"ds": stamps, "y": values})


def _silence() -> None:
    """No log lines from the libraries; a level is overridden by cmdstanpy itself."""
    for name in ("cmdstanpy", "prophet", "prophet.plot", "prophet.models"):
        logging.getLogger(name).disabled = True


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Prophet draws its intervals from numpy's global generator: seed it, then put it back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
