"""Forecasts and anomaly scores as values."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True)
class ForecastPoint:
    """One predicted value with its interval, at a wall-clock time in seconds (UTC)."""

    at: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """A series' forecast, its points in order of time.

    `model` names what made it (prophet, seasonal, robust); `note` why.
    """

    series: str
    made_at: float
    model: str
    points: tuple[ForecastPoint, ...]
    note: str = ""

    def at(self, when: float) -> ForecastPoint | None:
        """The point nearest to `when` within the forecast's span; None outside it."""
        if (
            not self.points
            or when > self.points[-1].at + self.step_s
            or when < self.points[0].at - self.step_s
        ):
            return None
        after = bisect_left(self.points, when, key=lambda p: p.at)
        return min(self.points[max(0, after - 1) : after + 1], key=lambda p: abs(p.at - when))

    @property
    def step_s(self) -> float:
        return self.points[1].at - self.points[0].at if len(self.points) > 1 else 300.0

    def peak(self, start: float, end: float) -> ForecastPoint | None:
        """The highest predicted point in [start, end]."""
        inside = [p for p in self.points if start <= p.at <= end]
        return max(inside, key=lambda p: p.value) if inside else None

    def leaves(self, start: float, low: float, high: float) -> float | None:
        """When, from `start` on, a predicted value is first outside [low, high]; None: never."""
        ahead = (p.at for p in self.points if p.at >= start and not low <= p.value <= high)
        return next(ahead, None)


@dataclass(frozen=True)
class AnomalyScore:
    """How unusual a point is: above 1 it is anomalous. `suppressed`: its episode was told."""

    series: str
    at: float
    value: float
    expected: float
    score: float
    anomalous: bool
    suppressed: bool = False


@dataclass(frozen=True)
class Alert:
    """Something a person should know. `fingerprint` identifies it over its life."""

    fingerprint: str
    name: str
    severity: str  # info, warning, critical
    target: str
    summary: str
    starts_at: float
    ends_at: float | None = None  # resolved when set
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def firing(self) -> bool:
        return self.ends_at is None
