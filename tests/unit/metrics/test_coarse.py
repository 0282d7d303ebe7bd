from __future__ import annotations

import math
from pathlib import Path

import pytest

from autotuner.domain.telemetry import Histogram
from autotuner.metrics.canonical import recognise
from autotuner.metrics.coarse import Bucket, bucket_of, coarse_quantile, coarse_target
from autotuner.metrics.samples import parse_page

PAGES = Path(__file__).with_name("pages")
# The first edges of SGLang's TTFT buckets.
SGLANG = Histogram((0.1, 0.2, 0.4, 0.6, math.inf), (30.0, 38.0, 39.0, 39.0, 40.0), 4.0)


@pytest.mark.parametrize(
    ("target", "bucket"),
    [
        (0.05, Bucket(0.0, 0.1)),  # all that is faster than 0.1 s looks alike
        (0.15, Bucket(0.1, 0.2)),
        (0.1, None),  # an edge: the share within it is known
        (0.5, None),  # 0.4 to 0.6 is narrow
        (2.0, Bucket(0.6, math.inf)),
    ],
)
def test_a_target_inside_of_a_wide_bucket_is_told(target: float, bucket: Bucket | None) -> None:
    assert coarse_target(SGLANG, target) == bucket


def test_a_quantile_in_a_wide_bucket_is_told() -> None:
    assert coarse_quantile(SGLANG, 0.5) == Bucket(0.0, 0.1)
    assert coarse_quantile(SGLANG, 0.96) == Bucket(0.2, 0.4)
    assert coarse_quantile(SGLANG, 0.99) == Bucket(0.6, math.inf)
    fine = Histogram((0.1, 0.11, 0.12, math.inf), (0.0, 20.0, 40.0, 40.0), 4.4)
    assert coarse_quantile(fine, 0.5) is None
    assert coarse_quantile(Histogram((0.1, math.inf), (0.0, 0.0), 0.0), 0.5) is None


def test_the_recorded_page_of_sglang_can_not_tell_fast_first_tokens() -> None:
    page = parse_page((PAGES / "sglang_0_5.prom").read_text(encoding="utf-8"))
    ttft = recognise(page).histograms["ttft_s"]
    assert coarse_target(ttft, 0.06) == Bucket(0.0, 0.1)
    assert coarse_target(ttft, 0.1) is None


def test_a_bucket_reads_as_a_range() -> None:
    assert str(bucket_of((0.1, 0.2), 0.15)) == "0.1 s to 0.2 s"
    assert str(bucket_of((0.1, 0.2), 3)) == "0.2 s to no end"
