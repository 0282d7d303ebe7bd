"""How fits are asked for: one at a time or many at once, and what counts as one that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autotuner.forecast.backtest import Tried
from autotuner.forecast.child import ChildError
from autotuner.forecast.fit_job import FitRequest

Fit = Callable[[FitRequest], Tried]
Fitted = Tried | Exception
# What each request gave, in their order; never raises for one that failed.
FitMany = Callable[[Sequence[FitRequest]], Sequence[Fitted]]


def attempt(fit: Fit, request: FitRequest) -> Fitted:
    """What `fit` gives, or the error with which it failed or met its time limit."""
    try:
        return fit(request)
    except (ChildError, OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
        return error


def one_by_one(fit: Fit) -> FitMany:
    """`fit` for many requests, one after the other."""
    return lambda requests: [attempt(fit, request) for request in requests]
