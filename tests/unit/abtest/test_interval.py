"""The bounds of the shift: what they cover, and that they agree with the test they invert."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ville import AsymptoticCS

from autotuner.abtest.eprocess import EProcess, Floats, log_e_paths
from autotuner.abtest.interval import EVERYTHING, Interval, ShiftTests

SCALE, ALPHA = 0.1, 0.05


def _after(differences: Iterable[float], span: Interval = EVERYTHING) -> ShiftTests:
    tests = ShiftTests.start(SCALE, span)
    for difference in differences:
        tests = tests.update(difference)
    return tests


def _normal(mean: float, sd: float, n: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(mean, sd, n)


def _exact_low(data: Floats, reach: float = 3.0) -> float:
    """The lowest shift that was never refuted, by brute force over a very fine line of shifts."""
    shifts = np.linspace(data.mean() - reach, data.max(), 1501)
    log_e = log_e_paths(data[None, :] - shifts[:, None], SCALE).max(axis=1)
    return float(shifts[np.argmax(log_e < -math.log(ALPHA))])


def _cell(tests: ShiftTests, shift: float) -> float:
    """How far the grid's shifts lie apart there."""
    index = int(np.clip(np.searchsorted(tests.shifts, shift), 1, tests.shifts.size - 1))
    return float(tests.shifts[index] - tests.shifts[index - 1])


# ---- against the test that is inverted
def test_every_shift_has_the_process_of_the_differences_without_it() -> None:
    data = _normal(0.1, 0.1, 12, 1)
    tests = _after(data)
    for index in range(0, tests.shifts.size, 50):
        shift = float(tests.shifts[index])
        better, worse = (EProcess.of(d, SCALE) for d in (data - shift, shift - data))
        assert tests.above(shift).log_e == pytest.approx(better.log_e, abs=1e-9)
        assert tests.under(shift).max_log_e == pytest.approx(worse.max_log_e, abs=1e-9)


@pytest.mark.parametrize("mean", [-0.4, 0.02, 1.5])
@pytest.mark.parametrize(("sd", "n"), [(0.1, 8), (0.1, 25), (0.02, 20), (0.5, 30)])
def test_the_grid_never_tightens_what_brute_force_finds(mean: float, sd: float, n: int) -> None:
    data = _normal(mean, sd, n, 0)
    tests, exact = _after(data), _exact_low(data)
    low, high = tests.bounds(ALPHA)
    resolution = _cell(tests, exact) + 0.004
    assert exact - 2 * resolution <= low <= exact + resolution
    exact_high = -_exact_low(-data)
    resolution = _cell(tests, exact_high) + 0.004
    assert exact_high - resolution <= high <= exact_high + 2 * resolution


@pytest.mark.parametrize("scale", [0.003, 0.1, 2.0])
@pytest.mark.parametrize("mean", [0.06, 0.1, 0.3])
def test_the_lower_bound_reaches_zero_when_the_test_accepts(mean: float, scale: float) -> None:
    decided = 0
    for seed in range(4):
        tests = ShiftTests.start(scale, (-1.0, 1.0))
        for difference in np.clip(_normal(mean, 0.1, 60, seed), -1, 1):
            assert tests.bounds(ALPHA)[0] < 0
            tests = tests.update(difference)
            if tests.above(0.0).log_e >= -math.log(ALPHA):
                assert tests.bounds(ALPHA)[0] >= 0
                decided += 1
                break
    assert decided >= (1 if mean < 0.1 else 3)


@given(
    st.lists(st.floats(-0.2, 1.0), min_size=7, max_size=16),
    st.sampled_from([0.01, 0.1, 1.0]),
)
@settings(deadline=None, max_examples=40)
def test_acceptance_and_the_lower_bound_agree(differences: list[float], unit: float) -> None:
    tests = _after(d * unit for d in differences)
    accepted = tests.above(0.0).max_log_e >= -math.log(ALPHA)
    assert (tests.bounds(ALPHA)[0] >= 0) == accepted


def test_seven_equal_pairs_are_enough_for_every_shift_below() -> None:
    assert _after([0.3] * 6).bounds(ALPHA) == EVERYTHING
    assert 0 <= _after([0.3] * 7).bounds(ALPHA)[0] <= 0.3


# ---- coverage
@given(st.integers(0, 10_000), st.floats(-0.5, 0.5), st.sampled_from([0.02, 0.1, 1.0]))
@settings(deadline=None, max_examples=15)
def test_a_bound_passes_a_shift_only_if_the_test_of_its_cell_was_refuted(
    seed: int, shift: float, sd: float
) -> None:
    # That test is valid for every shift in the cell (see the e-process): so the bounds cover.
    tests = _after(_normal(shift, sd, 30, seed))
    low, high = tests.bounds(0.5)
    first = int(np.searchsorted(tests.shifts, shift))
    cell_below, cell_above = tests.shifts[first], tests.shifts[first - 1]
    if low > shift:
        assert tests.above(float(cell_below)).max_log_e >= math.log(2)
    if high < shift:
        assert tests.under(float(cell_above)).max_log_e >= math.log(2)


def test_the_interval_covers_the_shift_at_every_look() -> None:
    missed = 0
    for seed in range(40):
        low, high = _after(_normal(0.1, 0.2, 24, seed)).interval(ALPHA)
        missed += not low <= 0.1 <= high  # bounds never widen: the last one speaks for all looks
    assert missed <= 4  # more than 4 has probability below 0.05 at exactly 5%


# ---- shape
def test_before_there_is_information_everything_is_possible() -> None:
    assert _after([]).bounds(ALPHA) == EVERYTHING
    assert _after([0.3, 0.31]).bounds(ALPHA) == EVERYTHING
    assert _after([0.3, 0.31], (-1.0, 1.0)).bounds(ALPHA) == (-1.0, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_never_widen_while_the_shift_stays(seed: int) -> None:
    tests, before = _after([]), EVERYTHING
    for difference in _normal(0.1, 0.1, 60, seed):
        tests = tests.update(difference)
        now = tests.bounds(ALPHA)
        assert before[0] <= now[0] < now[1] <= before[1]
        before = now
    assert before[1] - before[0] < 0.2


def test_bounds_that_cross_give_way_to_those_of_the_present_look() -> None:
    drifting = _after([*_normal(0.5, 0.05, 12, 1), *_normal(-0.5, 0.05, 60, 2)])
    never = -math.log(ALPHA)
    refuted = drifting.upward.max_log_e >= never
    assert refuted[drifting.shifts <= 0.3].all()  # the first pairs
    low, high = drifting.bounds(ALPHA)
    assert low < high < 0.3
    assert not (drifting.upward.log_e >= never)[drifting.shifts > low].any()


def test_more_confidence_is_a_wider_interval() -> None:
    tests = _after(_normal(0.1, 0.1, 50, 2))
    low, high = tests.bounds(ALPHA)
    assert tests.bounds(0.001)[0] < tests.interval(ALPHA)[0] < low
    assert high < tests.interval(ALPHA)[1] < tests.bounds(0.001)[1]
    assert tests.interval(ALPHA) == tests.bounds(ALPHA / 2)


@given(st.integers(0, 30))
@settings(deadline=None, max_examples=10)
def test_bounds_mirror(seed: int) -> None:
    data = _normal(0.1, 0.1, 12, seed)
    low, high = _after(data).bounds(ALPHA)
    assert _after(-data).bounds(ALPHA) == (-high, -low)


@given(st.floats(1e-3, 1e3), st.integers(0, 5))
@settings(deadline=None, max_examples=10)
def test_units_do_not_matter(unit: float, seed: int) -> None:
    data = _normal(0.1, 0.1, 12, seed)
    other = ShiftTests.start(SCALE * unit)
    for difference in data * unit:
        other = other.update(difference)
    assert np.allclose(np.array(other.bounds(ALPHA)), np.array(_after(data).bounds(ALPHA)) * unit)


def test_about_as_wide_as_the_asymptotic_sequence() -> None:
    data = _normal(0.1, 0.1, 300, 7)
    theirs = AsymptoticCS(alpha=ALPHA, t_opt=50).fit(data)
    low, high = _after(data).interval(ALPHA)
    width = float(theirs.upper_[-1] - theirs.lower_[-1])
    assert 0.7 * width < high - low < 1.3 * width


def test_the_state_does_not_grow_with_the_pairs() -> None:
    few, many = _after([0.1]), _after(_normal(0.1, 0.1, 300, 3))
    for name in ("total", "squares", "ups", "downs", "magnitudes", "max_log_e"):
        assert getattr(few.upward, name).shape == getattr(many.upward, name).shape
    assert few.shifts is not None
    assert few.shifts.size < 1000


def test_what_is_watched_is_on_the_grid_wherever_it_lies() -> None:
    tests = ShiftTests.start(SCALE, (-1.0, 1.0), (-0.0123456, 5.0)).update(0.3)
    for shift in (-0.0123456, 5.0, 0.0):
        alone = EProcess.of([0.3 - shift], SCALE)
        assert tests.above(shift).log_e == pytest.approx(alone.log_e, abs=1e-12)
    with pytest.raises(KeyError, match="name it at the start"):
        tests.under(-0.01234567)
    assert tests.bounds(ALPHA) == (-1.0, 1.0)


@pytest.mark.parametrize("difference", [math.nan, math.inf])
def test_what_is_no_number_is_refused(difference: float) -> None:
    with pytest.raises(ValueError, match="difference="):
        _after([difference])
