"""The e-process against another implementation, exact enumeration, and its own algebra."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ville import MSPRT, BettingTest, normal_mixture

from autotuner.abtest.eprocess import (
    ETA,
    MAGNITUDE_BETS,
    SIGN_STAKES,
    EProcess,
    Floats,
    log_e_paths,
)

DIFFERENCES = st.lists(
    st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False), min_size=1, max_size=40
)
SIGNS = np.array(list(itertools.product((-1.0, 1.0), repeat=12)))  # (4096, 12)


def _coin(n: int, p: float, seed: int) -> Floats:
    return np.where(np.random.default_rng(seed).random(n) < p, 1.0, -1.0)


# ---- against ville (another author's implementation of the same formulas)
@pytest.mark.parametrize("p", [0.5, 0.7, 0.95])
def test_normalised_part_is_the_mixture_sprt_when_magnitudes_are_equal(p: float) -> None:
    stream = _coin(120, p, 1)
    oracle = MSPRT(theta0=0.0, sigma=1.0, tau=1 / math.sqrt(ETA)).fit(stream).log_e_values_
    for n in (1, 2, 10, 50, 120):
        up = EProcess.of(stream[:n], 1.0).log_normalised
        down = EProcess.of(-stream[:n], 1.0).log_normalised
        assert np.logaddexp(up, down) - math.log(2) == pytest.approx(oracle[n - 1], abs=1e-9)


def test_normalised_part_crosses_20_at_the_one_sided_boundary() -> None:
    for squares in (1.0, 10.0, 300.0):
        total = float(normal_mixture(squares, 0.05, ETA, one_sided=True))
        state = EProcess(1.0, n=1, total=total, squares=squares)
        assert state.log_normalised == pytest.approx(math.log(20), abs=1e-6)


def _betting_oracle(stake: float, ups_and_downs: Floats) -> float:
    # With so small an alpha the plug-in bet is always capped at c, a constant stake.
    test = BettingTest(m0=0.5, alternative="greater", alpha=1e-300, c=stake)
    return float(test.fit((ups_and_downs + 1) / 2).log_e_values_[-1])


def test_sign_part_is_the_mean_of_constant_bets() -> None:
    stream = _coin(100, 0.7, 2)
    oracle = np.logaddexp.reduce([_betting_oracle(s, stream) for s in SIGN_STAKES])
    assert EProcess.of(stream * 7.3, 0.1).log_sign == pytest.approx(
        oracle - math.log(len(SIGN_STAKES)), abs=1e-9
    )


def test_magnitude_part_is_a_sign_bet_when_magnitudes_are_equal() -> None:
    stream = _coin(100, 0.6, 3)
    oracle = np.logaddexp.reduce([_betting_oracle(s / c, stream) for s, c in MAGNITUDE_BETS])
    assert EProcess.of(stream * 0.02, 0.5).log_magnitude == pytest.approx(
        oracle - math.log(len(MAGNITUDE_BETS)), abs=1e-9
    )


# ---- exact: every outcome of twelve fair coins
def _magnitudes(name: str) -> Floats:
    rng = np.random.default_rng(4)
    return {
        "equal": np.full(12, 0.1),
        "heavy": np.abs(rng.standard_cauchy(12)),
        "growing": 0.01 * 2.0 ** np.arange(12),
        "shrinking": 2.0 ** -np.arange(12),
        "one huge": np.array([0.01] * 6 + [1e6] + [0.01] * 5),
        "zeros": np.array([0.0, 0.1] * 6),
    }[name]


@pytest.mark.parametrize("name", ["equal", "heavy", "growing", "shrinking", "one huge", "zeros"])
@pytest.mark.parametrize("scale", [0.01, 0.1, 3.0])
def test_over_all_sign_flips_e_is_at_most_one_on_average(name: str, scale: float) -> None:
    log_e = log_e_paths(SIGNS * _magnitudes(name), scale)
    assert np.all(np.exp(log_e).mean(axis=0) <= 1 + 1e-9)
    assert (log_e.max(axis=1) >= math.log(20)).mean() <= 0.05


@pytest.mark.parametrize("scale", [0.05, 0.5])
def test_magnitudes_that_answer_to_past_signs_change_nothing(scale: float) -> None:
    # A nemesis: the size of the next difference doubles after every win, as volatility might.
    wins: Floats = np.cumsum(SIGNS > 0, axis=1) - (SIGNS > 0)
    log_e = log_e_paths(SIGNS * 0.05 * 2.0**wins, scale)
    assert np.all(np.exp(log_e).mean(axis=0) <= 1 + 1e-9)
    assert (log_e.max(axis=1) >= math.log(20)).mean() <= 0.05


def test_the_enumeration_can_tell_an_unfair_coin() -> None:
    weights = np.prod(np.where(SIGNS > 0, 0.8, 0.2), axis=1)
    log_e = log_e_paths(SIGNS * 0.1, 0.1)
    assert weights @ np.exp(log_e[:, -1]) > 5


# ---- algebra
@given(DIFFERENCES, st.sampled_from([1e-3, 0.1, 50.0]))
@settings(deadline=None, max_examples=50)
def test_one_by_one_and_all_at_once_agree(differences: list[float], scale: float) -> None:
    state = EProcess(scale)
    seen = []
    for d in differences:
        state = state.update(d)
        seen.append(state.log_e)
    assert np.allclose(seen, log_e_paths(np.array(differences), scale), atol=1e-7, rtol=1e-9)
    assert state.max_log_e == max(0.0, *seen)


@given(DIFFERENCES)
@settings(deadline=None, max_examples=50)
def test_benefit_and_harm_cannot_both_be_shown_by_one_look(differences: list[float]) -> None:
    up = EProcess.of(differences, 0.1)
    down = EProcess.of([-d for d in differences], 0.1)
    assert (up.ups, up.downs) == (down.downs, down.ups)
    assert min(up.log_e, down.log_e) < math.log(20)


@given(st.permutations([0.3, -0.1, 0.02, 0.5, -0.7, 0.11, 0.0]))
@settings(deadline=None, max_examples=30)
def test_two_parts_do_not_care_about_the_order(order: list[float]) -> None:
    state, base = EProcess.of(order, 0.1), EProcess.of(sorted(order), 0.1)
    assert state.log_normalised == pytest.approx(base.log_normalised, abs=1e-9)
    assert state.log_sign == pytest.approx(base.log_sign, abs=1e-9)


@given(DIFFERENCES, st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=50)
def test_units_do_not_matter(differences: list[float], unit: float) -> None:
    scaled = EProcess.of([d * unit for d in differences], 0.1 * unit)
    assert scaled.log_e == pytest.approx(EProcess.of(differences, 0.1).log_e, abs=1e-6)


@given(DIFFERENCES, st.floats(0.0, 10.0))
@settings(deadline=None, max_examples=50)
def test_the_sign_part_rises_with_a_shift(differences: list[float], shift: float) -> None:
    shifted = EProcess.of([d + shift for d in differences], 0.1)
    assert shifted.log_sign >= EProcess.of(differences, 0.1).log_sign - 1e-9


def test_no_evidence_from_zeros_and_none_before_seven_pairs() -> None:
    idle = EProcess.of([0.0] * 50, 0.1)
    assert idle.log_e == pytest.approx(0, abs=1e-12)
    assert idle.p_value == pytest.approx(1)
    assert idle.confidence == pytest.approx(0, abs=1e-12)
    for size in (0.01, 0.1, 1.0, 1e9):
        assert EProcess.of([size] * 6, 0.1).log_e < math.log(20)
    assert EProcess.of([0.3] * 7, 0.1).log_e >= math.log(20)


@pytest.mark.parametrize("d", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(d: float) -> None:
    with pytest.raises(ValueError, match="difference="):
        EProcess(0.1).update(d)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale="):
        EProcess(scale)


@pytest.mark.parametrize("d", [1e308, -1e308, 5e-324, 1e-200, 0.0])
def test_extreme_differences_stay_finite(d: float) -> None:
    state = EProcess.of([0.1, d, -0.1, d, d], 1e-3)
    assert math.isfinite(state.log_e)
    assert 0 <= state.confidence <= 1
    assert np.isfinite(log_e_paths(np.array([d, d, 0.1]), 1e-3)).all()


@pytest.mark.parametrize("mean", [0.0, 0.5, -0.5])
def test_a_hundred_thousand_pairs_stay_finite(mean: float) -> None:
    path = log_e_paths(np.random.default_rng(5).normal(mean, 1, 100_000), 1.0)
    assert np.isfinite(path).all()
    assert (path[-1] > 1000) == (mean > 0)
