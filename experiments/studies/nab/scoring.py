"""The scoring rules of the Numenta Anomaly Benchmark, standard profile. Pure.

Written anew from Lavin and Ahmad, Evaluating Real-time Anomaly Detection Algorithms (ICMLA 2015),
section II, and from how the benchmark's own scorer counts positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FALSE_WEIGHT = 0.11  # the standard profile; a hit and a miss weigh 1
PROBATION_SHARE, MOST_PROBATION = 0.15, 750
# From three window widths after a window on, a false alert costs its full weight.
_FAR = 3.0


@dataclass(frozen=True)
class SeriesScore:
    """What one series adds: `raw` is the sum of its points, between about −∞ and `windows`."""

    raw: float
    windows: int
    hits: int
    false_alerts: int


def probation(points: int) -> int:
    """How many points at the start are not scored."""
    return min(math.floor(PROBATION_SHARE * points), MOST_PROBATION)


def sigmoid(position: float) -> float:
    """From 0.987 at −1 over 0 at 0 to −0.987 at 1: positions are in window widths."""
    return -1.0 if position >= _FAR else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def scored(points: int, windows: Sequence[tuple[int, int]], alerts: Iterable[int]) -> SeriesScore:
    """The score of alerts at these indices; windows are (first, last), in order, both inside.

    The earliest alert in a window counts alone, the more the earlier it is. An alert outside costs
    the less the nearer it follows a window. Windows that end on probation don't count.
    """
    first = probation(points)
    told = sorted({alert for alert in alerts if alert >= first})
    counted = [window for window in windows if window[1] >= first]
    found = [_earliest(told, window) for window in counted]
    hits = [_gain(alert, w) for alert, w in zip(found, counted, strict=True) if alert is not None]
    outside = [alert for alert in told if not any(a <= alert <= b for a, b in windows)]
    cost = sum(_cost(alert, windows) for alert in outside)
    raw = sum(hits) - (len(counted) - len(hits)) - FALSE_WEIGHT * cost
    return SeriesScore(raw, len(counted), len(hits), len(outside))


def normalised(scores: Iterable[SeriesScore]) -> float:
    """100 for every window hit at its first point and nothing else, 0 for saying nothing.

    Raises ValueError where there is no window at all.
    """
    several = list(scores)
    windows = sum(score.windows for score in several)
    if not windows:
        raise ValueError("scores: no labelled window among them; nothing to normalise by")
    return 100.0 * (sum(score.raw for score in several) + windows) / (2.0 * windows)


def _earliest(told: Sequence[int], window: tuple[int, int]) -> int | None:
    return next((alert for alert in told if window[0] <= alert <= window[1]), None)


def _gain(alert: int, window: tuple[int, int]) -> float:
    first, last = window
    return sigmoid(-(last - alert + 1) / (last - first + 1)) / sigmoid(-1.0)


def _cost(alert: int, windows: Sequence[tuple[int, int]]) -> float:
    before = [window for window in windows if window[1] < alert]
    if not before:
        return 1.0
    first, last = before[-1]
    return -sigmoid((alert - last) / max(last - first, 1))
