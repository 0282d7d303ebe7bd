"""The e-process against another implementation, exact enumeration, and its own algebra."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from ville import MSPRT, BettingTest, normal_mixture

from autotuner.abtest.eprocess import (
    ETA,
    LARGEST_RATIO,
    SIGN_STAKES,
    TILTS,
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
        total = np.asarray(normal_mixture(squares, 0.05, ETA, one_sided=True))
        state = EProcess(1.0, n=1, total=total, squares=np.asarray(squares))
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
    oracle = np.logaddexp.reduce([_betting_oracle(math.tanh(t), stream) for t in TILTS])
    assert EProcess.of(stream * 0.02, 0.5).log_magnitude == pytest.approx(
        oracle - math.log(len(TILTS)), abs=1e-9
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


MAGNITUDES = st.lists(st.floats(0, 1e3, allow_subnormal=False), min_size=8, max_size=8)
EIGHT = np.array(list(itertools.product((-1.0, 1.0), repeat=8)))  # (256, 8)
LEVELS = (0.05, 0.2, 0.5)


@given(MAGNITUDES, st.sampled_from([0.01, 1.0, 100.0]))
@settings(deadline=None, max_examples=60)
def test_whatever_the_magnitudes_are_e_is_a_fair_game(sizes: list[float], scale: float) -> None:
    log_e = log_e_paths(EIGHT * np.array(sizes), scale)
    assert np.all(np.exp(log_e).mean(axis=0) <= 1 + 1e-9)
    for level in LEVELS:
        assert (log_e.max(axis=1) >= -math.log(level)).mean() <= level


@given(MAGNITUDES, st.lists(st.floats(0, 1e3), min_size=8, max_size=8), st.floats(0, 5))
@settings(deadline=None, max_examples=60)
def test_a_treatment_that_is_worse_by_what_it_likes_gains_nothing(
    sizes: list[float], behind: list[float], after_a_win: float
) -> None:
    # Each difference is symmetric about its own centre below 0, which answers to the last sign.
    last_won = np.pad(EIGHT[:, :-1] > 0, ((0, 0), (1, 0)))
    centres = -np.array(behind) - after_a_win * last_won
    log_e = log_e_paths(EIGHT * np.array(sizes) + centres, 1.0)
    assert np.all(np.exp(log_e).mean(axis=0) <= 1 + 1e-9)
    for level in LEVELS:
        assert (log_e.max(axis=1) >= -math.log(level)).mean() <= level


@given(MAGNITUDES, st.floats(-2, 4), st.floats(-4, 0))
@settings(deadline=None, max_examples=60)
def test_stopping_at_will_gains_nothing(sizes: list[float], stop_at: float, give_up: float) -> None:
    log_e = log_e_paths(EIGHT * np.array(sizes), 1.0)
    stops = (log_e >= stop_at) | (log_e <= give_up)
    stops[:, -1] = True
    stopped = np.take_along_axis(log_e, stops.argmax(axis=1)[:, None], axis=1)
    assert np.exp(stopped).mean() <= 1 + 1e-9


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


def test_processes_side_by_side_are_those_one_by_one() -> None:
    together = EProcess.side_by_side(0.1, 3)
    streams = np.random.default_rng(6).normal(0.05, 0.1, (15, 3))
    for pair in streams:
        together = together.update(pair)
    for index in range(3):
        alone = EProcess.of(streams[:, index], 0.1)
        assert together[index].n == alone.n == 15
        assert together[index].log_e == pytest.approx(alone.log_e, abs=1e-12)
        assert together[index].max_log_e == pytest.approx(alone.max_log_e, abs=1e-12)
        assert together.log_e[index] == pytest.approx(alone.log_e, abs=1e-12)


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


@given(DIFFERENCES, st.data())
@settings(deadline=None, max_examples=50)
def test_a_pair_turned_in_its_favour_never_lowers_e(
    differences: list[float], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(differences) - 1))
    turned = np.array(differences)
    turned[index] = abs(turned[index])
    before = log_e_paths(np.array(differences), 0.1)
    assert np.all(log_e_paths(turned, 0.1) >= before - 1e-9)


@given(DIFFERENCES, st.floats(0, 1e6))
@settings(deadline=None, max_examples=50)
def test_the_bets_never_lose_by_a_better_last_pair(differences: list[float], more: float) -> None:
    # The normalised part may: one pair that is far too good to be true speaks for noise.
    *before, last = differences
    worse, better = (EProcess.of([*before, d], 0.1) for d in (last, last + more))
    assert better.log_sign >= worse.log_sign
    assert better.log_magnitude >= worse.log_magnitude - 1e-9


def test_no_evidence_from_zeros() -> None:
    idle = EProcess.of([0.0] * 50, 0.1)
    assert idle.log_e == pytest.approx(0, abs=1e-12)
    assert idle.p_value == pytest.approx(1)
    assert idle.confidence == pytest.approx(0, abs=1e-12)


@given(st.floats(0, 1e9), st.sampled_from([1e-3, 0.1, 10.0]))
@settings(deadline=None, max_examples=50)
def test_six_equal_pairs_are_never_enough(size: float, scale: float) -> None:
    assert EProcess.of([size] * 6, scale).max_log_e < math.log(20)


@pytest.mark.parametrize("size", [1e-6, 0.01, 0.1, 0.3, 1.0, 1e9])
def test_seven_equal_pairs_are_evidence_whatever_scale_was_expected(size: float) -> None:
    assert EProcess.of([size] * 7, 0.1).log_e >= math.log(20)


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


LONG = 100_000


@pytest.mark.parametrize("mean", [0.0, 0.5, -0.5])
def test_a_hundred_thousand_pairs_stay_exact(mean: float) -> None:
    x = np.random.default_rng(5).normal(mean, 1, LONG)
    path = log_e_paths(x, 1.0)
    assert np.isfinite(path).all()
    assert (path[-1] > 1000) == (mean > 0)
    assert path[-1] == pytest.approx(_summed_exactly(x), rel=1e-12, abs=1e-8)


def _summed_exactly(x: Floats) -> float:
    """Ln E after all of x, every sum without rounding errors, by other means than the process."""
    squares = x * x
    information = math.fsum(squares) + ETA
    z = math.fsum(x) / math.sqrt(information)
    log_phi = float(stats.norm.logcdf(z))
    normalised = math.log(2) + 0.5 * (math.log(ETA) - math.log(information)) + z * z / 2 + log_phi
    ups, downs = int((x > 0).sum()), int((x < 0).sum())
    signs = [ups * math.log(1 + s) + downs * math.log(1 - s) for s in SIGN_STAKES]
    ratio = x / np.sqrt(np.cumsum(squares) / np.arange(1, x.size + 1))
    ratio = np.clip(ratio, -LARGEST_RATIO, LARGEST_RATIO)
    bets = [math.fsum(math.log(2) + special.log_expit(2 * t * ratio)) for t in TILTS]
    parts = [
        math.log(0.2) + normalised,
        *(math.log(0.1 / len(signs)) + log for log in signs),
        *(math.log(0.7 / len(bets)) + log for log in bets),
    ]
    return float(special.logsumexp(parts))


@pytest.mark.parametrize("one", [0.1, -0.1, 1e-9, 1e12, -1e12, 1e300])
def test_pairs_that_all_agree_stay_finite(one: float) -> None:
    # What 1e5 updates would have summed up; the next one must go on from there.
    grown = EProcess.of([one] * 20, 0.1)
    times = LONG / grown.n
    far = replace(
        grown,
        n=LONG,
        **{
            name: getattr(grown, name) * times
            for name in ("total", "squares", "ups", "downs", "magnitudes")
        },
    ).update(one)
    assert math.isfinite(far.log_e)
    assert 0 <= far.confidence <= 1
    assert (far.log_e > 1000) == (one > 0)
