"""How many pairs the test needs to accept a true effect, and how many each of its parts alone."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from autotuner.abtest.eprocess import EProcess, Floats

ALPHA = 0.05
POWER = 0.8
PARTS = ("normalised", "sign", "magnitude")
MIXTURE = "mixture"


def pairs_needed(differences: Floats, scale: float) -> dict[str, Floats]:
    """The pair at which each test reached 1/α, shape (tests,); infinite where it never did.

    `differences`: (tests, pairs). By name: the mixture, which is what live tests use, and each of
    its parts as a test of its own.
    """
    tests, pairs = differences.shape
    needed = {name: np.full(tests, math.inf) for name in (MIXTURE, *PARTS)}
    process = EProcess.side_by_side(scale, tests)
    for pair in range(pairs):
        process = process.update(differences[:, pair])
        for name, log_e in _log_e(process).items():
            reached = (log_e >= -math.log(ALPHA)) & np.isinf(needed[name])
            needed[name][reached] = pair + 1
    return needed


def quantile(needed: Floats, share: float) -> float | None:
    """Pairs by which that share of the tests had accepted; None where fewer ever did."""
    found = float(np.quantile(needed, share, method="inverted_cdf"))
    return found if math.isfinite(found) else None


def fixed_size(effect: float) -> float:
    """Pairs of the one-sided test of known sd that is looked at once, at 80% power; not rounded.

    `effect` in sd of a pair's difference: ((z of 1 − α + z of the power) / effect)².
    """
    z = stats.norm.ppf(1 - ALPHA) + stats.norm.ppf(POWER)
    return float((z / effect) ** 2)


def _log_e(process: EProcess) -> dict[str, Floats]:
    return {
        MIXTURE: process.log_e,
        "normalised": process.log_normalised,
        "sign": process.log_sign,
        "magnitude": process.log_magnitude,
    }
