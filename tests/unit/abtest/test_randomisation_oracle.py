"""The e-process against exact randomisation tests: every assignment of the arms, by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import permutation_test

from autotuner.abtest.eprocess import Floats, log_e_paths

PAIRS = 11
SCALE = 0.1


def _largest_log_e(differences: Floats, axis: int = -1) -> Floats:
    largest: Floats = log_e_paths(np.moveaxis(differences, axis, -1), SCALE).max(axis=-1)
    return largest


def _randomisation_p(differences: Floats) -> float:
    """SciPy's exact test: the share of all 2^n swaps of arms with as large a statistic."""
    test = permutation_test(
        (differences,),
        _largest_log_e,
        permutation_type="samples",
        n_resamples=math.inf,
        alternative="greater",
        vectorized=True,
    )
    return float(test.pvalue)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mean", [0.0, 0.1, 0.2])
def test_the_anytime_p_value_is_never_below_the_exact_one(mean: float, seed: int) -> None:
    differences = np.random.default_rng(seed).normal(mean, SCALE, PAIRS)
    anytime_p = math.exp(-max(0.0, float(_largest_log_e(differences))))
    assert anytime_p >= _randomisation_p(differences)


@pytest.mark.parametrize("heavy", [False, True])
def test_what_is_accepted_the_exact_test_accepts_too(heavy: bool) -> None:
    accepted = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        noise = rng.standard_t(2, PAIRS) if heavy else rng.normal(0, 1, PAIRS)
        differences = 0.2 + SCALE * noise
        if _largest_log_e(differences) >= math.log(20):
            accepted += 1
            assert _randomisation_p(differences) <= 0.05
    assert accepted >= 4


def test_the_exact_test_tells_noise_from_a_gain() -> None:
    noise = np.random.default_rng(3).normal(0, SCALE, PAIRS)
    assert _randomisation_p(noise) > 0.05 > _randomisation_p(noise + 0.2)
