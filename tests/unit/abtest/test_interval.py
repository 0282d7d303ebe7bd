"""The bounds of the shift: what they cover, and that they agree with the test they invert."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.abtest.eprocess import EProcess, log_e_paths
from autotuner.abtest.interval import nested, shift_bounds, shift_interval


def test_before_there_is_information_everything_is_possible() -> None:
    assert shift_bounds([], 0.1, 0.05) == (-math.inf, math.inf)
    assert shift_bounds([0.3, 0.31], 0.1, 0.05) == (-math.inf, math.inf)
    assert shift_bounds([0.3, 0.31], 0.1, 0.05, (-1.0, 1.0)) == (-1.0, 1.0)


@pytest.mark.parametrize("mean", [0.05, 0.1, 0.3])
def test_the_lower_bound_leaves_zero_when_the_test_accepts(mean: float) -> None:
    decided = 0
    for seed in range(8):
        data = np.clip(np.random.default_rng(seed).normal(mean, 0.1, 60), -1, 1)
        hits = np.flatnonzero(log_e_paths(data, 0.1) >= math.log(20))
        if hits.size:
            first = int(hits[0]) + 1
            low, high = shift_bounds(list(data[:first]), 0.1, 0.05, (-1.0, 1.0))
            assert 0 <= low <= data[:first].mean() <= high
            before = shift_bounds(list(data[: first - 1]), 0.1, 0.05, (-1.0, 1.0))
            assert before[0] < 0
            decided += 1
    assert decided >= 4


def test_bounds_mark_where_the_test_turns() -> None:
    data = np.random.default_rng(1).normal(0.2, 0.1, 25)
    low, high = shift_bounds(list(data), 0.1, 0.05)
    step = 1e-4

    def benefit(shift: float) -> float:
        return EProcess.of(data - shift, 0.1).log_e

    def harm(shift: float) -> float:
        return EProcess.of(shift - data, 0.1).log_e

    assert benefit(low - step) >= math.log(20) > benefit(low + step)
    assert harm(high + step) >= math.log(20) > harm(high - step)


@given(st.floats(-5, 5), st.integers(0, 20))
@settings(deadline=None, max_examples=15)
def test_bounds_move_with_the_data(shift: float, seed: int) -> None:
    data = np.random.default_rng(seed).normal(0, 0.1, 15)
    base, moved = (shift_bounds(list(d), 0.1, 0.05) for d in (data, data + shift))
    assert np.allclose(np.array(base) + shift, moved, atol=1e-3)


@given(st.integers(0, 30))
@settings(deadline=None, max_examples=15)
def test_bounds_mirror(seed: int) -> None:
    data = np.random.default_rng(seed).normal(0.1, 0.1, 12)
    low, high = shift_bounds(list(data), 0.1, 0.05)
    mirrored = shift_bounds(list(-data), 0.1, 0.05)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_the_two_sided_interval_is_wider_than_the_bounds() -> None:
    data = list(np.random.default_rng(2).normal(0.1, 0.1, 20))
    low, high = shift_bounds(data, 0.1, 0.05)
    wide_low, wide_high = shift_interval(data, 0.1, 0.05)
    assert wide_low < low < high < wide_high


def test_the_interval_covers_the_shift_at_every_look() -> None:
    missed = 0
    for seed in range(60):
        data = np.random.default_rng(seed).normal(0.1, 0.2, 24)
        looks = [shift_interval(list(data[:n]), 0.1, 0.05) for n in (8, 12, 16, 24)]
        missed += not all(low <= 0.1 <= high for low, high in looks)
    assert missed <= 6  # 5% of 60 is 3; more than 6 has probability below 0.04 at exactly 5%


def test_nested_never_widens_and_gives_up_where_it_would_be_empty() -> None:
    assert nested((-1.0, 0.5), (-0.2, 0.9)) == (-0.2, 0.5)
    assert nested((-1.0, 0.1), (0.2, 0.4)) == (0.2, 0.4)
