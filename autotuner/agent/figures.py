"""Figures of a served system that its step log does not tell, each with an uncertainty.

KV room, prefix hits, request lengths and arrivals, from what was seen over a stretch of time. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.agent.stepmodel import Floats
from autotuner.domain.telemetry import Exposure, StepRecord

_LEAST = 5  # readings below which nothing is said; chosen
_NEAR_S = 1.0  # steps so near to a scrape are those that it saw; chosen
_LEAST_USAGE = 0.02  # below it the gauge's rounding to blocks decides; chosen


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error, from `n` readings. NaN where nothing can be said."""

    value: float = math.nan
    error: float = math.nan
    n: int = 0

    @property
    def known(self) -> bool:
        return math.isfinite(self.value) and math.isfinite(self.error)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the figure lies with 95% confidence, by the normal approximation."""
        return self.value - 1.96 * self.error, self.value + 1.96 * self.error


@dataclass(frozen=True)
class Past:
    """What a target told over a stretch of time under one settings.

    `kv_usage`: (time on the target's clock, used share 0..1) of each scrape. `prefix`: (time,
    prompt tokens looked up, found) of each window.
    """

    steps: tuple[StepRecord, ...] = ()
    requests: tuple[Exposure, ...] = ()
    kv_usage: tuple[tuple[float, float], ...] = ()
    prefix: tuple[tuple[float, float, float], ...] = ()

    def before(self, when: float) -> Past:
        """What was told before `when` (the target's clock)."""
        return Past(
            tuple(s for s in self.steps if s.at < when),
            tuple(r for r in self.requests if r.arrival < when),
            tuple(u for u in self.kv_usage if u[0] < when),
            tuple(p for p in self.prefix if p[0] < when),
        )


@dataclass(frozen=True)
class Figures:
    """`kv_tokens`: tokens of KV that a replica holds. `kv_usage`: the mean used share, 0..1.
    `prefix_share`: of the prompt tokens found in the cache. Tokens per request. `rate_rps`,
    `burst`: of the arrivals; `burst` is the coefficient of variation of the gaps between them, 1
    for a Poisson stream.
    """

    kv_tokens: Estimate = Estimate()
    kv_usage: Estimate = Estimate()
    prefix_share: Estimate = Estimate()
    prompt_tokens: Estimate = Estimate()
    output_tokens: Estimate = Estimate()
    rate_rps: Estimate = Estimate()
    burst: Estimate = Estimate()


def figures(past: Past) -> Figures:
    """All that `past` says; what it does not say stays unknown."""
    served = [r for r in past.requests if r.served and r.prompt_tokens > 0 and r.output_tokens > 0]
    rate, burst = arrivals(np.array([r.arrival for r in past.requests], dtype=np.float64))
    return Figures(
        kv_tokens=kv_room(past.steps, past.kv_usage),
        kv_usage=mean_of([usage for _, usage in past.kv_usage if 0 <= usage <= 1]),
        prefix_share=share_of([(looked, found) for _, looked, found in past.prefix]),
        prompt_tokens=mean_of([r.prompt_tokens for r in served]),
        output_tokens=mean_of([r.output_tokens for r in served]),
        rate_rps=rate,
        burst=burst,
    )


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of values that are taken as independent."""
    usable = np.array([v for v in values if math.isfinite(v)], dtype=np.float64)
    n = len(usable)
    if n < _LEAST:
        return Estimate(n=n)
    return Estimate(float(usable.mean()), float(usable.std(ddof=1) / math.sqrt(n)), n)


def kv_room(steps: Sequence[StepRecord], usage: Sequence[tuple[float, float]]) -> Estimate:
    """Tokens of KV that a replica holds: context in use over used share, the median of scrapes.

    The context is the mean of the steps around a scrape. Blocks that sequences share count in
    each, so that this is the room in tokens as requests see them. The standard error is that of a
    median under normal scatter, 1.253 σ/√n.
    """
    at = np.array([s.at for s in steps], dtype=np.float64)
    context = np.array([s.context_tokens for s in steps], dtype=np.float64)
    ratios = []
    for when, used in usage:
        near = np.abs(at - when) <= _NEAR_S
        held = float(context[near].mean()) if near.any() else 0.0
        if _LEAST_USAGE <= used <= 1 and held > 0:
            ratios.append(held / used)
    if len(ratios) < _LEAST:
        return Estimate(n=len(ratios))
    found = np.array(ratios)
    middle = float(np.median(found))
    deviation = 1.4826 * float(np.median(np.abs(found - middle)))
    error = max(1.253 * deviation / math.sqrt(len(found)), 0.005 * middle)
    return Estimate(middle, error, len(found))


def share_of(pairs: Sequence[tuple[float, float]]) -> Estimate:
    """Σ found / Σ looked up over windows, with the ratio estimator's error (Cochran, 1977, 6.4)."""
    table = np.array([p for p in pairs if p[0] > 0 and 0 <= p[1] <= p[0]]).reshape(-1, 2)
    n = len(table)
    if n < _LEAST:
        return Estimate(n=n)
    looked, found = table[:, 0], table[:, 1]
    share = float(found.sum() / looked.sum())
    left = found - share * looked
    error = math.sqrt(float((left**2).sum()) / (n - 1) / n) / float(looked.mean())
    return Estimate(share, error, n)


def arrivals(at: Floats) -> tuple[Estimate, Estimate]:
    """Rate (per second) and the gaps' coefficient of variation, of arrivals at `at` (s).

    Both by the delta method for independent gaps: the CV's variance is CV²/n · ((μ₄ − σ⁴)/4σ⁴ −
    μ₃/μσ² + σ²/μ²).
    """
    gaps = np.diff(np.sort(at[np.isfinite(at)]))
    n = len(gaps)
    if n < 4 * _LEAST or gaps.mean() <= 0:
        return Estimate(n=n), Estimate(n=n)
    mean, variance = float(gaps.mean()), float(gaps.var(ddof=1))
    rate = 1 / mean
    if variance <= 0:
        return Estimate(rate, 0.0, n), Estimate(0.0, 0.0, n)
    third, fourth = (float(((gaps - mean) ** k).mean()) for k in (3, 4))
    cv = math.sqrt(variance) / mean
    spread = (fourth / variance**2 - 1) / 4 - third / (mean * variance) + cv**2
    return (
        Estimate(rate, rate * cv / math.sqrt(n), n),
        Estimate(cv, cv * math.sqrt(max(spread, 0.0) / n), n),
    )
