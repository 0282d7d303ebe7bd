"""Which shifts of the differences the data still allow: the test of `eprocess`, inverted.

A shift δ is refuted when E of (D − δ) reaches 1/α. Where the treatment moves every pair by δ, it
is refuted at any look with probability at most α.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotuner.abtest.eprocess import Floats, log_e_paths

Interval = tuple[float, float]
EVERYTHING: Interval = (-math.inf, math.inf)
_INSIDE_POINTS, _OUTSIDE_POINTS, _REFINE_POINTS, _REFINE_ROUNDS = 129, 48, 65, 4
_FAR = 1e6  # widths of the data: beyond it the test no longer changes


def shift_bounds(
    differences: Sequence[float], scale: float, alpha: float, span: Interval = EVERYTHING
) -> Interval:
    """A lower and an upper bound of the shift, EACH valid at every look with 1 − `alpha`.

    The lower one is the accepting test inverted, the upper one the harm test, so that they agree
    with the verdicts. `span` holds the shifts that are possible at all (−1..1 for attainment); a
    side on which nothing is known yet is its end.
    """
    data = np.asarray(differences, dtype=np.float64)
    if data.size == 0:
        return span
    high = -_lower_bound(-data, scale, alpha, -span[1])
    return _lower_bound(data, scale, alpha, span[0]), high


def shift_interval(
    differences: Sequence[float], scale: float, alpha: float, span: Interval = EVERYTHING
) -> Interval:
    """The two-sided interval: covers the shift at every look with 1 − `alpha`."""
    return shift_bounds(differences, scale, alpha / 2, span)


def nested(earlier: Interval, now: Interval) -> Interval:
    """The running intersection: as valid, never wider than before.

    Empty where the differences are no constant shift (the effect drifts): then `now` stands.
    """
    low, high = max(earlier[0], now[0]), min(earlier[1], now[1])
    return (low, high) if low <= high else now


def _lower_bound(data: Floats, scale: float, alpha: float, floor: float) -> float:
    """The lowest shift that is not refuted; `floor` when even the lowest possible one is not.

    E is not monotone in δ, so that the search runs from the outside in: everything below the
    bound is refuted (to the grid's resolution, which includes the jumps at the data).
    """
    outside_in = _candidates(data, scale, floor)
    allowed = ~_refuted(data, outside_in, scale, alpha)
    if allowed[0]:
        return floor
    first = int(np.argmax(allowed))
    left, right = float(outside_in[first - 1]), float(outside_in[first])
    for _ in range(_REFINE_ROUNDS):
        finer = np.linspace(left, right, _REFINE_POINTS)
        place = max(1, int(np.argmax(~_refuted(data, finer, scale, alpha))))
        left, right = float(finer[place - 1]), float(finer[place])
    return left


def _candidates(data: Floats, scale: float, floor: float) -> Floats:
    """Shifts from the lowest worth asking to the largest difference (never refuted), ascending."""
    least, most = float(data.min()), float(data.max())
    width = max(most - least, scale)
    inside = np.linspace(least - width, most, _INSIDE_POINTS)
    outside = least - width * np.geomspace(1, _FAR, _OUTSIDE_POINTS)
    points = np.unique(np.concatenate([outside, inside, data]))
    if math.isfinite(floor):
        points = np.concatenate([[floor], points[points > floor]])
    return points


def _refuted(data: Floats, shifts: Floats, scale: float, alpha: float) -> NDArray[np.bool_]:
    final = log_e_paths(data[None, :] - shifts[:, None], scale)[:, -1]
    refuted: NDArray[np.bool_] = final >= -math.log(alpha)
    return refuted
