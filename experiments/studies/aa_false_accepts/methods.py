"""The tests that are compared: which of many A/A tests each would accept at 5%, one-sided."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from autotuner.abtest.eprocess import Floats, log_e_paths
from autotuner.domain.experiment import Plan
from experiments.studies.aa_false_accepts.pairs import Bools, Pairs

ALPHA = 0.05
FIRST_LOOK = 3  # pairs before which neither t nor the ranks are asked
BURN_IN = 10  # pairs before which the asymptotic sequence is not asked
BEST_AT = 50  # pairs at which the asymptotic sequence is narrowest


@dataclass(frozen=True)
class Method:
    """`accepts` tells which tests were accepted at any look. `looks` None: one after every pair."""

    name: str
    accepts: Callable[[Pairs], Bools]
    looks: int | None = None


def e_process(pairs: Pairs) -> Bools:
    """E of the differences reached 1/α at some pair, with the plan's default scale."""
    return ever_accepted(pairs.differences)


def ever_accepted(differences: Floats) -> Bools:
    log_e = log_e_paths(differences, Plan().prior_sd)
    return np.asarray(log_e.max(axis=1) >= -math.log(ALPHA), dtype=np.bool_)


def peeked_t(pairs: Pairs) -> Bools:
    t, critical = _t_statistics(pairs.differences)
    return np.asarray((t > critical).any(axis=1), dtype=np.bool_)


def t_once(pairs: Pairs) -> Bools:
    t, critical = _t_statistics(pairs.differences)
    return np.asarray(t[:, -1] > critical[-1], dtype=np.bool_)


def peeked_rank_sum(pairs: Pairs) -> Bools:
    """Mann-Whitney on the slot values of both arms: normal approximation, ties, continuity."""
    z = rank_sum_z(pairs)[:, FIRST_LOOK - 1 :]
    return np.asarray((z > stats.norm.ppf(1 - ALPHA)).any(axis=1), dtype=np.bool_)


def rank_sum_z(pairs: Pairs) -> Floats:
    """The standardised U of the treatment after every pair, shape (tests, pairs)."""
    control, treatment = pairs.control, pairs.treatment
    tests, count = control.shape
    u, ties = np.zeros(tests), np.zeros(tests)
    z = np.zeros((tests, count))
    for k in range(count):
        before = (control[:, :k], treatment[:, :k])
        c, t = control[:, k], treatment[:, k]
        u += _wins(t, before[0]) + (k - _wins(c, before[1])) + _wins(t, c[:, None])
        # A value that m others equal adds (m+1)³ − (m+1) − (m³ − m) to Σ(t³ − t).
        same = _equals(c, *before)
        ties += 3 * same * (same + 1)
        same = _equals(t, *before, c[:, None])
        ties += 3 * same * (same + 1)
        n = k + 1
        variance = n * n / 12 * (2 * n + 1 - ties / (2 * n * (2 * n - 1)))
        spread = np.sqrt(np.maximum(variance, 0))
        z[:, k] = np.divide(u - n * n / 2 - 0.5, spread, out=np.zeros(tests), where=spread > 0)
    return z


def asymptotic(pairs: Pairs) -> Bools:
    """The asymptotic confidence sequence's lower bound came above 0, from pair BURN_IN on.

    Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence sequences"
    (Annals of Statistics 2024), the normal mixture:
    mean ± sd √(2(nρ² + 1)/(n²ρ²) ln(√(nρ² + 1)/a)).
    One side of it at α is the two-sided one at a = 2α.
    """
    differences = pairs.differences
    a = 2 * ALPHA
    rho2 = (-2 * math.log(a) + math.log(1 - 2 * math.log(a))) / BEST_AT
    n, mean, sd = _running(differences)
    width = sd * np.sqrt(2 * (n * rho2 + 1) / (n * n * rho2) * np.log(np.sqrt(n * rho2 + 1) / a))
    return np.asarray((mean > width)[:, BURN_IN - 1 :].any(axis=1), dtype=np.bool_)


METHODS = (
    Method("e-process", e_process),
    Method("asymptotic sequence", asymptotic),
    Method("rank-sum, peeked", peeked_rank_sum),
    Method("paired t, peeked", peeked_t),
    Method("paired t, one look", t_once, looks=1),
)
ADJUSTED = "e-process, covariates"


def _wins(values: Floats, others: Floats) -> Floats:
    """How many of `others` each value is above; equal ones count a half."""
    above = (values[:, None] > others).sum(axis=1)
    return np.asarray(above + 0.5 * (values[:, None] == others).sum(axis=1), dtype=np.float64)


def _equals(values: Floats, *others: Floats) -> Floats:
    same = sum((values[:, None] == other).sum(axis=1) for other in others)
    return np.asarray(same, dtype=np.float64)


def _running(differences: Floats) -> tuple[Floats, Floats, Floats]:
    """Number of pairs, mean and standard deviation after every pair (NaN after the first)."""
    n = np.arange(1.0, differences.shape[1] + 1)
    mean = differences.cumsum(axis=1) / n
    squares = (differences**2).cumsum(axis=1) - n * mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = np.sqrt(np.maximum(squares, 0) / (n - 1))
    return n, mean, sd


def _t_statistics(differences: Floats) -> tuple[Floats, Floats]:
    """One-sided paired t after each pair from the third on, and its critical values."""
    n, mean, sd = (part[..., FIRST_LOOK - 1 :] for part in _running(differences))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num(mean / (sd / np.sqrt(n)))
    return t, stats.t.ppf(1 - ALPHA, n - 1)
