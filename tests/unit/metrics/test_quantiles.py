from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.telemetry import Histogram
from autotuner.metrics.quantiles import quantile, share_below

EDGES = (0.1, 0.5, 1.0, math.inf)
SEEN = Histogram(EDGES, (2, 6, 8, 10), 9.0)
EMPTY = Histogram(EDGES, (0, 0, 0, 0), 0.0)


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    # Rank 4 of 10 lies half-way through the four observations between 0.1 and 0.5.
    assert quantile(SEEN, 0.4).value == pytest.approx(0.3)
    assert not quantile(SEEN, 0.4).bucket_limited


def test_the_first_bucket_begins_at_zero() -> None:
    assert quantile(SEEN, 0.1).value == pytest.approx(0.05)
    assert quantile(SEEN, 0.0).value == 0.0


def test_beyond_the_last_edge_the_edge_is_given_and_flagged() -> None:
    found = quantile(SEEN, 0.95)
    assert found.value == 1.0
    assert found.bucket_limited


def test_nothing_seen_has_no_quantile_and_no_share() -> None:
    assert math.isnan(quantile(EMPTY, 0.5).value)
    assert math.isnan(share_below(EMPTY, 0.5).low)


def test_a_histogram_of_one_open_bucket_knows_nothing() -> None:
    found = quantile(Histogram((math.inf,), (5,), 3.0), 0.5)
    assert math.isnan(found.value)
    assert found.bucket_limited


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_share_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="give a share from 0 to 1"):
        quantile(SEEN, q)


def test_a_share_at_an_edge_is_exact() -> None:
    share = share_below(SEEN, 0.5)
    assert share.exact
    assert share.low == pytest.approx(0.6)


def test_a_share_between_edges_is_bounded() -> None:
    share = share_below(SEEN, 0.7)
    assert not share.exact
    assert (share.low, share.high) == pytest.approx((0.6, 0.8))
    below, beyond = share_below(SEEN, 0.05), share_below(SEEN, 20.0)
    assert (below.low, below.high) == pytest.approx((0.0, 0.2))
    assert (beyond.low, beyond.high) == pytest.approx((0.8, 1.0))


@given(
    st.lists(st.floats(0.001, 5.0), min_size=1, max_size=200),
    st.floats(0.01, 0.99),
    st.floats(0.01, 4.9),
)
def test_the_truth_lies_where_the_buckets_say(values: list[float], q: float, bound: float) -> None:
    edges = (0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, math.inf)
    counts = tuple(float(sum(v <= edge for v in values)) for edge in edges)
    seen = Histogram(edges, counts, sum(values))
    share = share_below(seen, bound)
    truth = sum(v <= bound for v in values) / len(values)
    assert share.low <= truth <= share.high
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    bucket = next(i for i, edge in enumerate(edges) if edge >= exact)
    low = edges[bucket - 1] if bucket else 0.0
    assert low <= quantile(seen, q).value <= edges[bucket]
