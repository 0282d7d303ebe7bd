"""Where buckets are too wide to say what is asked: a threshold or a quantile in one. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.domain.telemetry import Histogram
from autotuner.metrics.quantiles import quantile

# Chosen: within a bucket whose edges are this many times apart a figure is a guess by more than the
# effects that tests look for. vLLM's edges for TTFT are 1.25 to 4 times apart, SGLang's first is
# 0.1 s.
WIDE = 1.5


@dataclass(frozen=True)
class Bucket:
    """The bucket (low, high] that a figure falls into, s; 0 and inf at the ends."""

    low: float
    high: float

    @property
    def wide(self) -> bool:
        return self.high == math.inf or not self.high <= WIDE * self.low

    def __str__(self) -> str:
        end = "no end" if self.high == math.inf else f"{self.high:g} s"
        return f"{self.low:g} s to {end}"


def bucket_of(bounds: tuple[float, ...], value: float) -> Bucket:
    """The bucket that `value` falls into."""
    low = max((edge for edge in bounds if edge < value), default=0.0)
    return Bucket(low, min((edge for edge in bounds if edge >= value), default=math.inf))


def coarse_target(seen: Histogram, target_s: float) -> Bucket | None:
    """The wide bucket with the target inside of it, so that a share within the target is unknown.

    None where the target is an edge, or its bucket is narrow enough.
    """
    bucket = bucket_of(seen.bounds, target_s)
    return bucket if bucket.high != target_s and bucket.wide else None


def coarse_quantile(seen: Histogram, q: float) -> Bucket | None:
    """The wide bucket that the quantile falls into; None where it is known, or nothing was seen."""
    value = quantile(seen, q).value
    if math.isnan(value):
        return None
    # A quantile in the open last bucket is told as that bucket's lower edge.
    last = max((edge for edge in seen.bounds if math.isfinite(edge)), default=0.0)
    beyond = quantile(seen, q).bucket_limited
    bucket = Bucket(last, math.inf) if beyond else bucket_of(seen.bounds, value)
    return bucket if bucket.wide else None
