from __future__ import annotations

import math

import pytest

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Histogram, Snapshot
from autotuner.metrics.carried import Carry


def snapshot(at: float, tokens: float, edge: float = 1.0) -> Snapshot:
    histogram = Histogram((edge, math.inf), (tokens, tokens), tokens)
    return Snapshot(at, {"tokens": tokens}, histograms={"ttft_s": histogram})


def test_counts_go_on_over_restarts() -> None:
    carry = Carry()
    told = [carry.on(snapshot(at, n)) for at, n in enumerate((10, 30, 5, 7, 2))]
    assert [one.counters["tokens"] for one in told] == [10, 30, 35, 37, 39]
    assert [one.histograms["ttft_s"].count for one in told] == [10, 30, 35, 37, 39]


def test_other_buckets_after_a_restart_are_refused() -> None:
    carry = Carry()
    carry.on(snapshot(0, 10))
    with pytest.raises(TargetUnavailableError, match="different buckets"):
        carry.on(snapshot(1, 2, edge=2.0))
