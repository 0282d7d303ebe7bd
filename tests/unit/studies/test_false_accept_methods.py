"""The tests that the study of false accepts compares are what their names say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from experiments.studies.aa_false_accepts.methods import (
    BURN_IN,
    asymptotic,
    e_process,
    peeked_rank_sum,
    peeked_t,
    rank_sum_z,
    t_once,
)
from experiments.studies.aa_false_accepts.pairs import (
    Pairs,
    coins,
    crossover,
    plain_split,
    switchback,
)

RNG = np.random.default_rng(3)


def _noise(tests: int, pairs: int, gain: float = 0.0) -> Pairs:
    rng = np.random.default_rng(4)
    control, treatment = rng.standard_normal((2, tests, pairs))
    return Pairs(control, treatment + gain)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_the_rank_sum_is_that_of_scipy_at_every_look_with_ties(decimals: int) -> None:
    noise = _noise(5, 25, 0.3)
    pairs = Pairs(noise.control.round(decimals), noise.treatment.round(decimals))
    z = rank_sum_z(pairs)
    for test in range(5):
        for n in (3, 4, 12, 25):
            told = stats.mannwhitneyu(
                pairs.treatment[test, :n],
                pairs.control[test, :n],
                alternative="greater",
                method="asymptotic",
            )
            assert stats.norm.sf(z[test, n - 1]) == pytest.approx(told.pvalue, rel=1e-9)


def test_values_that_are_all_equal_hold_no_evidence() -> None:
    same = Pairs(np.ones((2, 20)), np.ones((2, 20)))
    for accepts in (e_process, asymptotic, peeked_rank_sum, peeked_t, t_once):
        assert not accepts(same).any()


def test_one_look_is_the_one_sided_paired_t_test_of_scipy() -> None:
    pairs = _noise(40, 15, 0.4)
    told = stats.ttest_rel(pairs.treatment, pairs.control, axis=1, alternative="greater")
    assert (t_once(pairs) == (told.pvalue < 0.05)).all()
    assert 0 < t_once(pairs).sum() < 40


def test_looking_again_and_again_accepts_all_that_one_look_does() -> None:
    pairs = _noise(200, 60)
    assert (peeked_t(pairs) >= t_once(pairs)).all()
    assert peeked_t(pairs).sum() > 2 * t_once(pairs).sum()


def test_the_asymptotic_sequence_is_its_formula_and_waits_for_its_burn_in() -> None:
    pairs = _noise(60, BURN_IN, 0.8)
    a = 0.1
    rho2 = (-2 * math.log(a) + math.log(1 - 2 * math.log(a))) / 50
    n = BURN_IN
    factor = 2 * (n * rho2 + 1) / (n**2 * rho2) * math.log(math.sqrt(n * rho2 + 1) / a)
    low = pairs.differences.mean(axis=1) - pairs.differences.std(axis=1, ddof=1) * factor**0.5
    assert (asymptotic(pairs) == (low > 0)).all()
    assert 0 < asymptotic(pairs).sum() < 60
    sooner = Pairs(pairs.control[:, :-1], pairs.treatment[:, :-1])
    assert not asymptotic(sooner).any()


def test_a_clear_gain_is_accepted_by_all_and_a_loss_by_none() -> None:
    gain = _noise(20, 40, 3.0)
    loss = Pairs(gain.treatment, gain.control)
    for accepts in (e_process, asymptotic, peeked_rank_sum, peeked_t, t_once):
        assert accepts(gain).all()
        assert not accepts(loss).any()


def test_swapping_machines_cancels_what_they_differ_by() -> None:
    first, second = RNG.standard_normal((2, 3, 12))
    treatment_first = coins(RNG, 3, 6)
    as_measured = crossover((first, second), treatment_first)
    slower = crossover((first, second - 0.5), treatment_first)
    assert slower.differences == pytest.approx(as_measured.differences)


def test_a_plain_split_takes_the_machines_for_the_arms() -> None:
    lanes = (np.zeros((400, 12)), np.full((400, 12), -0.5))
    differences = plain_split(lanes, coins(RNG, 400, 6)).differences
    assert (differences == differences[:, :1]).all()
    assert set(differences[:, 0]) == {-0.5, 0.5}


def test_the_coin_sets_which_slot_of_a_pair_is_the_treatment() -> None:
    slots = np.arange(8.0).reshape(1, 8)
    pairs = switchback(slots, np.array([[True, False, False, True]]))
    assert pairs.treatment.tolist() == [[0, 3, 5, 6]]
    assert pairs.control.tolist() == [[1, 2, 4, 7]]
