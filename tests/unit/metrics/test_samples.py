from __future__ import annotations

import math

import pytest

from autotuner.domain.telemetry import Histogram
from autotuner.metrics.samples import histogram_of, parse_page


def test_lines_are_grouped_by_name() -> None:
    page = parse_page('a_total{x="1"} 2\na_total{x="2"} NaN\nb 1e3\n')
    assert [s.labels["x"] for s in page["a_total"]] == ["1", "2"]
    assert math.isnan(page["a_total"][1].value)
    assert page["b"][0].value == 1000


def test_text_that_is_no_metrics_page_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_page("<html>not found</html>\n")


def test_buckets_may_come_in_any_order() -> None:
    page = parse_page('h_bucket{le="+Inf"} 3\nh_bucket{le="0.5"} 1\nh_sum 2.5\n')
    found = histogram_of(page, "h")
    assert found is not None
    assert found == Histogram((0.5, math.inf), (1, 3), 2.5)


def test_a_histogram_without_its_open_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match=r"h: the bucket le=\+Inf is missing"):
        histogram_of(parse_page('h_bucket{le="0.5"} 1\n'), "h")


def test_a_histogram_that_is_not_there_is_none() -> None:
    assert histogram_of(parse_page("g 1\n"), "h") is None
