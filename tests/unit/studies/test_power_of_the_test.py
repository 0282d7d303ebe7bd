"""The study of power counts pairs as live tests would."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autotuner.abtest.eprocess import log_e_paths
from experiments.studies.ab_power.deciding import (
    MIXTURE,
    PARTS,
    fixed_size,
    pairs_needed,
    quantile,
)
from experiments.studies.ab_power.load import load_driven


def test_the_mixture_is_the_process_of_live_tests() -> None:
    differences = 1 + np.random.default_rng(1).standard_normal((30, 40))
    reached = log_e_paths(differences, 1.0) >= math.log(20)
    first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, math.inf)
    assert pairs_needed(differences, 1.0)[MIXTURE].tolist() == first.tolist()


def test_nothing_is_accepted_where_the_treatment_loses() -> None:
    needed = pairs_needed(np.full((2, 30), -1.0), 1.0)
    assert set(needed) == {MIXTURE, *PARTS}
    for pairs in needed.values():
        assert np.isinf(pairs).all()
        assert quantile(pairs, 0.5) is None


def test_a_quantile_counts_the_tests_that_never_accepted() -> None:
    needed = np.array([7.0, 9.0, 12.0, math.inf, math.inf])
    assert quantile(needed, 0.5) == 12
    assert quantile(needed, 0.8) is None


@pytest.mark.parametrize(("effect", "pairs"), [(0.25, 99), (0.5, 25), (1.0, 7)])
def test_the_fixed_size_is_that_of_the_tables(effect: float, pairs: int) -> None:
    assert math.ceil(fixed_size(effect)) == pairs


@pytest.mark.parametrize("explained", [0.25, 0.75])
def test_load_causes_the_share_that_it_should(explained: float) -> None:
    differences, covariates = load_driven(np.random.default_rng(2), 0.5, explained, 200, 200)
    assert differences.mean() == pytest.approx(0.5, abs=0.02)
    assert differences.std() == pytest.approx(1.0, abs=0.02)
    seen = np.corrcoef(differences.ravel(), covariates.ravel())[0, 1] ** 2
    # A little less than the true load explains: arrivals are counted.
    assert explained - 0.1 < seen < explained
