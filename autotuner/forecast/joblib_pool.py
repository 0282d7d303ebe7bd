"""Fits of many series in one call over joblib: loky's processes here, or a Ray cluster.

joblib and Ray are imported when a pool is made, never when this module is.
"""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Sequence
from typing import Any

from autotuner.domain.errors import ConfigError
from autotuner.forecast.backtest import Tried
from autotuner.forecast.child import ChildError
from autotuner.forecast.fit_job import FitRequest, fit_in_child
from autotuner.forecast.fits import Fit, Fitted, attempt

BACKENDS = ("loky", "ray")
# Chosen: what a fit may be late beyond its own limit, for a cluster's start and its queue.
_SLACK_S = 120.0


class JoblibPool:
    """At most `workers` fits at once, over joblib's `backend`. For many threads: calls take turns.

    Each fit is a process of its own beside joblib's worker, as `fit_in_child` starts it: at the
    request's time limit that process and all that it started are killed, on whatever machine it
    is; the worker goes on. A cluster that does not answer at all is given up after the limits of
    the fits that wait for each other, and two minutes. Raises ConfigError, at once, where the
    backend is not installed.
    """

    def __init__(self, workers: int, backend: str = "loky", fit: Fit = fit_in_child) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers}: give at least 1")
        if backend not in BACKENDS:
            raise ValueError(f"backend={backend!r}: give one of {', '.join(BACKENDS)}")
        self._joblib = _needed("joblib", "forecast.backend", "joblib")
        if backend == "ray":
            _needed("ray", "forecast.joblib_backend", "ray")
            importlib.import_module("ray.util.joblib").register_ray()
        self._workers, self._backend, self._fit = workers, backend, fit
        self._turn, self._used = threading.Lock(), False

    def fit_many(self, requests: Sequence[FitRequest]) -> Sequence[Fitted]:
        """What each request gave, in their order, or its error; never raises for a failure."""
        if not requests:
            return []
        with self._turn:
            self._used = True
            try:
                return self._run(requests)
            except Exception as error:  # noqa: BLE001 - a cluster fails in ways of its own
                told = f"joblib over {self._backend}: {type(error).__name__}: {error}"
                return [ChildError(told)] * len(requests)

    def fit(self, request: FitRequest) -> Tried:
        """One fit; raises as `fit_in_child` does."""
        (found,) = self.fit_many([request])
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Ends the workers; waits for fits under way. A cluster that was joined goes on."""
        with self._turn:
            if not self._used:
                return
            self._used = False
            if self._backend == "ray":
                importlib.import_module("ray").shutdown()
            else:
                loky = importlib.import_module("joblib.externals.loky")
                loky.get_reusable_executor().shutdown(wait=True, kill_workers=True)

    def _run(self, requests: Sequence[FitRequest]) -> Sequence[Fitted]:
        rounds = math.ceil(len(requests) / self._workers)
        patience_s = rounds * max(one.time_limit_s for one in requests) + _SLACK_S
        # No batches: a fit takes seconds, and the longest must not wait behind others.
        parallel = self._joblib.Parallel(
            n_jobs=self._workers, backend=self._backend, batch_size=1, timeout=patience_s
        )
        job = self._joblib.delayed(attempt)
        found: list[Fitted] = parallel(job(self._fit, request) for request in requests)
        return found


def _needed(module: str, field: str, value: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{field}={value!r}: {module} is missing: pip install 'autotuner[ray]'"
        ) from error
