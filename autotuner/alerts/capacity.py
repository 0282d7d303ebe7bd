"""What rate the settings in force can serve, from the minutes that were seen under them. Pure.

Two sources. Evidence: the rate above which minutes began to miss the goal. A model, where nothing
was missed yet: by Little's law r requests per second of W seconds keep r·W running, and an engine's
W grows in a straight line with those that run, W = a + b·r·W. So 1/W = (1 − b·r)/a falls in a
straight line with r, and with B places taken the rate is B/(a + b·B). Of that the share 1 − 1/√B
can be served without long waits (the square-root staffing rule of many-server queues).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_MINUTES = 10  # chosen, as are the next two
MIN_SPREAD = 1.5  # the highest rate over the lowest, for the line to have a slope
MIN_MISSED = 3  # minutes that missed the goal before they count as evidence


@dataclass(frozen=True)
class Minute:
    """What a minute under one settings showed. `service_s`: mean time of a request after its wait.

    `attainment` is 0..1 or NaN.
    """

    rate_rps: float
    service_s: float
    attainment: float


@dataclass(frozen=True)
class Capacity:
    """The rate that can be served at the goal, and how it is known."""

    rate_rps: float
    basis: str


def capacity(minutes: Sequence[Minute], places: float | None, goal: float) -> Capacity | None:
    """The capacity (requests per second), or None where nothing tells.

    `places`: requests that may run at once (of all replicas); None where it is not known.
    """
    known = [m for m in minutes if m.rate_rps > 0 and np.isfinite(m.attainment)]
    if len(known) < MIN_MINUTES:
        return None
    rates = np.array([m.rate_rps for m in known])
    missed = np.array([m.attainment < goal for m in known])
    seen = _boundary(rates, missed)
    if seen is not None:
        return Capacity(seen, f"above it {int(missed.sum())} minutes missed the goal")
    if places is None or (full := _when_full(known, places)) is None:
        return None
    usable = max(0.5, 1.0 - places**-0.5)
    # What was served with the goal met can be served, whatever a model says.
    served = float(np.quantile(rates[~missed], 0.9)) if not missed.all() else 0.0
    return Capacity(max(usable * full, served), "extrapolated from service times")


def _boundary(rates: NDArray[np.float64], missed: NDArray[np.bool_]) -> float | None:
    """The rate that best parts the minutes that met the goal from those that missed it."""
    order = np.argsort(rates, kind="stable")
    rates, missed = rates[order], missed[order]
    # Split i: the first i minutes should have met the goal, the others missed it.
    wrong = np.concatenate([[0], np.cumsum(missed)]) + (~missed).sum()
    wrong = wrong - np.concatenate([[0], np.cumsum(~missed)])
    split = len(wrong) - 1 - int(np.argmin(wrong[::-1]))
    if int(missed[split:].sum()) < MIN_MISSED:
        return None
    return float(rates[0] if split == 0 else (rates[split - 1] + rates[split]) / 2)


def _when_full(minutes: Sequence[Minute], places: float) -> float | None:
    """B/(a + b·B); None where the rates were too much alike."""
    timed = [m for m in minutes if m.service_s > 0]
    if len(timed) < MIN_MINUTES:
        return None
    rates = np.array([m.rate_rps for m in timed])
    low, high = np.quantile(rates, (0.1, 0.9))
    if high < MIN_SPREAD * low:
        return None
    slope, start = np.polyfit(rates, 1.0 / np.array([m.service_s for m in timed]), 1)
    if not start > 0:
        return None
    a, b = 1.0 / start, max(0.0, -slope / start)
    return float(places / (a + b * places))
