"""e-LOND: its levels, and the share of false ones that it keeps in simulated streams of tests."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from autotuner.abtest.discovery import level, share


def test_the_shares_sum_to_one_and_fall() -> None:
    shares = [share(test) for test in range(1, 10_001)]
    assert math.fsum(shares) == pytest.approx(1 - 1 / math.sqrt(10_001))
    assert all(a > b > 0 for a, b in itertools.pairwise(shares))


def test_the_first_level_and_what_acceptances_bring_back() -> None:
    assert level(0.05, 0, 0) == pytest.approx(0.05 * (1 - 1 / math.sqrt(2)))
    assert level(0.05, 20, 4) == pytest.approx(5 * level(0.05, 20, 0))
    assert level(0.05, 3, 3) <= 0.05
    assert level(0.05, 1000, 1000) <= 0.05


@pytest.mark.parametrize(("tests", "accepted"), [(3, 4), (2, -1), (-1, 0)])
def test_counts_that_cannot_be_are_refused(tests: int, accepted: int) -> None:
    with pytest.raises(ValueError, match="accepted="):
        level(0.05, tests, accepted)


def test_a_test_before_the_first_is_refused() -> None:
    with pytest.raises(ValueError, match="numbered from 1"):
        share(0)


def e_values(rng: np.random.Generator, real: NDArray[np.bool_]) -> NDArray[np.float64]:
    """exp(λz − λ²/2) for z of mean 0 (mean 1 as an e-value) or mean 4, λ = 3."""
    z = rng.standard_normal(real.shape) + np.where(real, 4.0, 0.0)
    return np.asarray(np.exp(3 * z - 4.5))


def run_streams(real_share: float, controlled: bool) -> tuple[float, float]:
    """Mean share of false ones among the accepted, and of the real ones that were found."""
    rng = np.random.default_rng(20240607)
    real = rng.random((2000, 60)) < real_share
    seen = e_values(rng, real)
    false_shares, found = [], []
    for truth, values in zip(real, seen, strict=True):
        accepted: list[bool] = []
        for test, value in enumerate(values):
            alpha = level(0.05, test, sum(accepted)) if controlled else 0.05
            accepted.append(bool(value >= 1 / alpha))
        kept = np.array(accepted)
        false_shares.append((kept & ~truth).sum() / max(kept.sum(), 1))
        found.append((kept & truth).sum() / max(truth.sum(), 1))
    return float(np.mean(false_shares)), float(np.mean(found))


@pytest.mark.parametrize("real_share", [0.0, 0.05, 0.5])
def test_the_share_of_false_discoveries_stays_below_alpha(real_share: float) -> None:
    false_share, _ = run_streams(real_share, controlled=True)
    assert false_share <= 0.05


def test_without_control_the_share_is_lost_and_with_it_real_gains_are_still_found() -> None:
    loose, _ = run_streams(0.0, controlled=False)
    assert loose > 0.2, "sixty tests of nothing at 0.05 each must show the need"
    _, found = run_streams(0.5, controlled=True)
    assert found > 0.5
