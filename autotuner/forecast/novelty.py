"""How unusual the last points of a stream of numbers are, measured by its own past. Pure.

Knows nothing of forecasts or alerts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from autotuner.forecast.series import spread_sd


@dataclass(frozen=True)
class Yardstick:
    """The mean of `points` points is odd beyond `limit` standard deviations."""

    points: int
    limit: float


@dataclass(frozen=True)
class NoveltyRules:
    """What is looked at and what is remembered. All counts are of points.

    A mean is kept every `block_points`; the last `blocks` of them say what is usual, and nothing
    is odd before `min_blocks`. Beside its limit a distance must exceed `habit` times the largest
    of late, which halves in `habit_half_life` points: after a large one, small ones are not odd.
    The defaults are meant for points of five minutes: half an hour and three hours, compared with
    a week. Limits and habit were chosen on the AWS folder of the Numenta Anomaly Benchmark, where
    neighbouring values do nearly as well (study nab).
    """

    sudden: Yardstick = Yardstick(points=6, limit=6.0)
    lasting: Yardstick = Yardstick(points=36, limit=4.0)
    block_points: int = 6
    blocks: int = 336
    min_blocks: int = 12
    habit: float = 0.2
    habit_half_life: float = 288.0


@dataclass(frozen=True)
class Gauge:
    """What is known of one yardstick's means: their median, their spread, the largest of late."""

    means: tuple[float, ...] = ()
    level: float = math.nan
    sd: float = math.nan
    peak: float = 0.0

    @property
    def known(self) -> bool:
        return not math.isnan(self.sd)

    def distance(self, mean: float, least_sd: float) -> float:
        """|mean − level| in standard deviations; 0 while nothing is known."""
        return abs(mean - self.level) / max(self.sd, least_sd) if self.known else 0.0

    def remembering(self, mean: float, rules: NoveltyRules) -> Gauge:
        """With one more mean to judge by."""
        means = (*self.means, mean)[-rules.blocks :]
        if len(means) < rules.min_blocks:
            return replace(self, means=means)
        values = np.asarray(means)
        return replace(self, means=means, level=float(np.median(values)), sd=spread_sd(values))


@dataclass(frozen=True)
class Novelty:
    """What is remembered of one stream: a few hundred numbers. Start with `Novelty()`."""

    recent: tuple[float, ...] = ()
    in_block: int = 0
    sudden: Gauge = Gauge()
    lasting: Gauge = Gauge()

    def interrupted(self) -> Novelty:
        """After a hole: the points before it say nothing about those after it."""
        return replace(self, recent=())


def judged(
    past: Novelty, value: float, least_sd: Callable[[float], float], rules: NoveltyRules
) -> tuple[Novelty, float]:
    """The memory with the point, and how unusual it is: above 1 it is odd.

    `least_sd` is given a gauge's level and says below which spread jitter is not worth a word.
    """
    kept = max(rules.sudden.points, rules.lasting.points)
    recent = (*past.recent, value)[-kept:]
    full = past.in_block + 1 >= rules.block_points
    gauges, strengths = [], []
    for gauge, yardstick in ((past.sudden, rules.sudden), (past.lasting, rules.lasting)):
        mean = fmean(recent[-yardstick.points :])
        distance = gauge.distance(mean, least_sd(gauge.level))
        strengths.append(distance / max(yardstick.limit, rules.habit * gauge.peak))
        decay = 0.5 ** (1.0 / rules.habit_half_life)
        gauge = replace(gauge, peak=max(gauge.peak * decay, distance))
        gauges.append(gauge.remembering(mean, rules) if full else gauge)
    return Novelty(recent, 0 if full else past.in_block + 1, *gauges), max(strengths)
