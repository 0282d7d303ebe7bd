from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.forecast.bands import Kind, banded, from_model, log_scale, to_model

FINITE = st.floats(-1e6, 1e6)


@given(st.sampled_from(Kind), FINITE, FINITE, FINITE, st.floats(0, 1e3))
def test_bands_hold_their_value_and_stay_possible(
    kind: Kind, value: float, low: float, high: float, noise: float
) -> None:
    (point,) = banded([(0.0, value, low, high)], kind, noise)
    assert 0.0 <= point.low <= point.value <= point.high <= kind.highest


@given(st.sampled_from([Kind.RATE, Kind.LATENCY]), st.floats(0, 1e6))
def test_a_band_without_width_gets_some(kind: Kind, value: float) -> None:
    (point,) = banded([(0.0, value, value, value)], kind, 0.0)
    assert point.high > point.value


def test_heavy_tails_are_logged_in_units_of_the_median() -> None:
    latencies = np.random.default_rng(0).lognormal(-3.0, 1.5, 2000)
    assert log_scale(latencies, Kind.LATENCY) == pytest.approx(np.median(latencies))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.random.default_rng(0).normal(10, 1, 500), Kind.RATE),  # no heavy tail
        (np.random.default_rng(0).lognormal(0, 2, 500), Kind.SHARE),
        (np.r_[np.random.default_rng(0).lognormal(0, 2, 500), -1.0], Kind.RATE),
        (np.r_[np.zeros(400), np.ones(100)], Kind.RATE),  # mostly idle: the median is no unit
        (np.full(100, 5.0), Kind.LATENCY),
    ],
)
def test_other_series_are_modelled_as_they_are(values: np.ndarray, kind: Kind) -> None:
    assert log_scale(values, kind) is None


@given(st.lists(st.floats(0, 1e6), min_size=1), st.one_of(st.none(), st.floats(1e-3, 1e6)))
def test_the_transform_can_be_undone(values: list[float], scale: float | None) -> None:
    there = to_model(np.array(values), scale)
    assert from_model(there, scale) == pytest.approx(np.array(values), rel=1e-6, abs=1e-9)


def test_the_way_back_never_overflows() -> None:
    assert np.isfinite(from_model(np.array([1e6]), 3.0)).all()
