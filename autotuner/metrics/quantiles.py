"""What buckets can say about quantiles and shares, and where they can't. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.domain.telemetry import Histogram, Quantile


def quantile(histogram: Histogram, q: float) -> Quantile:
    """The q-quantile (0..1) by linear interpolation within its bucket, as Prometheus does.

    A quantile in the open last bucket is only known to lie beyond the last finite edge: that edge
    is the value and `bucket_limited` is True. NaN when nothing was observed.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"q={q}: give a share from 0 to 1")
    if not histogram.count > 0:
        return Quantile(math.nan, bucket_limited=False)
    rank = q * histogram.count
    index = next(i for i, count in enumerate(histogram.counts) if count >= rank)
    low = histogram.bounds[index - 1] if index else 0.0
    if histogram.bounds[index] == math.inf:
        return Quantile(low if index else math.nan, bucket_limited=True)
    below = histogram.counts[index - 1] if index else 0.0
    inside = histogram.counts[index] - below
    fraction = (rank - below) / inside if inside > 0 else 0.0
    return Quantile(low + (histogram.bounds[index] - low) * fraction, bucket_limited=False)


@dataclass(frozen=True)
class Share:
    """A share of observations, known to lie in [low, high]; exact when they are equal."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        return self.low == self.high


def share_below(histogram: Histogram, bound: float) -> Share:
    """The share of observations at or below `bound`.

    Exact when `bound` is a bucket's edge; else between the shares at the edges around it.
    NaN on both sides when nothing was observed.
    """
    count = histogram.count
    if not count > 0:
        return Share(math.nan, math.nan)
    pairs = list(zip(histogram.bounds, histogram.counts, strict=True))
    low = max((c for edge, c in pairs if edge <= bound), default=0.0)
    high = min((c for edge, c in pairs if edge >= bound), default=count)
    return Share(low / count, high / count)
