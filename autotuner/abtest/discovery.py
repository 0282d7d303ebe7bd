"""Levels for a stream of tests, so that few of all accepted changes are false.

e-LOND (Xu and Ramdas, "Online multiple testing with e-values", 2024): test t is run at
α_t = α · γ_t · (accepted before + 1), with γ_t ≥ 0 that sum to 1. Accepting where E ≥ 1/α_t keeps
the expected share of false ones among the accepted below α at every time, however the tests depend
on each other, as long as each E has a mean of at most 1 given what came before.
"""

from __future__ import annotations

import math


def share(test: int) -> float:
    """γ of the test with that number (from 1): 1/√t − 1/√(t+1), which sums to 1.

    Chosen: it falls as slowly as t^−1.5, so that the hundredth test still has a level.
    """
    if test < 1:
        raise ValueError(f"test={test}: tests are numbered from 1")
    return 1 / math.sqrt(test) - 1 / math.sqrt(test + 1)


def level(alpha: float, tests: int, accepted: int) -> float:
    """The level of the next test, after so many tests of which so many were accepted.

    Never above `alpha`: that keeps the promise of each single test too.
    """
    if not 0 <= accepted <= tests:
        raise ValueError(f"accepted={accepted} of tests={tests}: give 0 ≤ accepted ≤ tests")
    return min(alpha, alpha * share(tests + 1) * (accepted + 1))
