"""When requests arrive: a rate over time, and how regular the arrivals are. Pure and seeded.

Arrivals are drawn at rate 1 in operational time and carried to real time through the inverse of
the cumulative rate, so that any process can follow any rate (Çinlar's time change).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.domain.errors import ConfigError
from autotuner.load.kinds import Process

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RateCurve:
    """A rate over time, constant within segments: `rates_rps[i]` from `edges_s[i]` to the next."""

    edges_s: tuple[float, ...]
    rates_rps: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.edges_s) != len(self.rates_rps) + 1 or not self.rates_rps:
            raise ConfigError(
                f"a rate curve of {len(self.rates_rps)} rates needs one edge more, and a rate"
            )
        if any(b <= a for a, b in zip(self.edges_s, self.edges_s[1:], strict=False)):
            raise ConfigError("a rate curve's edges must rise")
        if any(not (0 <= rate < math.inf) for rate in self.rates_rps):
            raise ConfigError("a rate curve's rates must be finite and not negative")

    @property
    def duration_s(self) -> float:
        return self.edges_s[-1] - self.edges_s[0]

    @property
    def mean_rps(self) -> float:
        return float(self.cumulative()[-1]) / self.duration_s

    def cumulative(self) -> Floats:
        """Expected arrivals up to each edge, one value per edge."""
        areas = np.diff(self.edges_s) * np.asarray(self.rates_rps)
        return np.concatenate(([0.0], np.cumsum(areas)))

    def with_mean(self, mean_rps: float) -> RateCurve:
        """The same shape at another mean rate."""
        factor = mean_rps / self.mean_rps if self.mean_rps > 0 else 0.0
        return RateCurve(self.edges_s, tuple(rate * factor for rate in self.rates_rps))


def steady(rate_rps: float, duration_s: float) -> RateCurve:
    return RateCurve((0.0, duration_s), (rate_rps,))


def steps(parts: Sequence[tuple[float, float]]) -> RateCurve:
    """One part after another: (duration_s, rate_rps) each."""
    edges = np.concatenate(([0.0], np.cumsum([duration for duration, _ in parts])))
    return RateCurve(tuple(edges.tolist()), tuple(rate for _, rate in parts))


def diurnal(
    mean_rps: float, duration_s: float, period_s: float, swing: float = 0.6, segments: int = 96
) -> RateCurve:
    """mean·(1 − swing·cos(2πt/period)): the trough at 0, the peak half a period later.

    `swing` 0..1; each period is cut into `segments`, each at its exact mean rate.
    """
    if not 0 <= swing <= 1:
        raise ConfigError(f"swing={swing}: give a share from 0 to 1")
    count = max(1, math.ceil(duration_s / period_s * segments))
    edges = np.linspace(0.0, duration_s, count + 1)
    turn = 2 * math.pi / period_s
    area = mean_rps * (edges - swing * np.sin(turn * edges) / turn)
    return RateCurve(tuple(edges.tolist()), tuple((np.diff(area) / np.diff(edges)).tolist()))


@dataclass(frozen=True)
class Bursts:
    """On/off traffic: the rate inside a burst over the rate outside, and the mean lengths."""

    factor: float = 6.0
    on_s: float = 8.0
    off_s: float = 24.0


def bursty(
    mean_rps: float, duration_s: float, rng: np.random.Generator, bursts: Bursts | None = None
) -> RateCurve:
    """Two rates in turn for exponential times (a Markov-modulated process), at the asked mean."""
    bursts = bursts or Bursts()
    parts: list[tuple[float, float]] = []
    at_s, inside = 0.0, bool(rng.random() < bursts.on_s / (bursts.on_s + bursts.off_s))
    while duration_s - at_s > 1e-3:  # a shorter rest is none
        drawn = float(rng.exponential(bursts.on_s if inside else bursts.off_s))
        length_s = min(max(drawn, 1e-3), duration_s - at_s)
        parts.append((length_s, bursts.factor if inside else 1.0))
        at_s, inside = at_s + length_s, not inside
    return steps(parts).with_mean(mean_rps)


def arrival_times(
    curve: RateCurve, process: Process, rng: np.random.Generator, cv: float = 1.0
) -> Floats:
    """Arrival times in seconds, rising, within the curve.

    `cv` is the gaps' coefficient of variation where the process is gamma (in operational time);
    the other processes have their own.
    """
    cumulative = curve.cumulative()
    operational = _unit_rate_arrivals(float(cumulative[-1]), process, rng, cv)
    # "right": an arrival at the edge of a stretch without traffic belongs behind that stretch.
    segment = np.searchsorted(cumulative, operational, side="right") - 1
    rates = np.asarray(curve.rates_rps)[segment]
    times: Floats = np.asarray(curve.edges_s)[segment] + (operational - cumulative[segment]) / rates
    return times


def _unit_rate_arrivals(
    until: float, process: Process, rng: np.random.Generator, cv: float
) -> Floats:
    """Arrivals at rate 1 before `until`."""
    if process is Process.CONSTANT:
        return np.arange(0.5, until, 1.0)
    if process is Process.GAMMA and not 0 < cv < math.inf:
        raise ConfigError(f"cv={cv}: give a number above 0 (1 is Poisson, more is burstier)")
    shape = 1.0 if process is Process.POISSON else 1.0 / cv**2
    drawn: list[Floats] = []
    at = 0.0
    while at < until:
        gaps = rng.gamma(shape, 1.0 / shape, size=int(until - at) + 64)
        times = at + np.cumsum(gaps)
        drawn.append(times)
        at = float(times[-1])
    arrivals = np.concatenate(drawn) if drawn else np.empty(0)
    return arrivals[arrivals < until]
