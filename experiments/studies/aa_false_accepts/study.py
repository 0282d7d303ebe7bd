"""How often a change that does nothing is accepted when the test is looked at after every pair.

Simulated A/A tests: one stream of autocorrelated request latencies, cut into slots; the real coin
says which slot of a pair is called treatment. Every method sees the same differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import signal, stats

from autotuner.abtest.design import arm_of
from autotuner.abtest.eprocess import Floats, log_e_paths
from autotuner.domain.experiment import Arm, Plan
from experiments.studies import _common

SEED = 20
ALPHA = 0.05
AUTOCORRELATIONS = (0.0, 0.9, 0.99)
SIGMA = 0.8  # of the log latency
ATTAINED = 0.9  # share of the requests within the SLO
OUTCOMES = ("attainment", "log latency")


@dataclass(frozen=True)
class Size:
    """How much is simulated; `batch` tests at a time bound the memory."""

    tests: int
    pairs: int
    requests_per_slot: int
    batch: int = 100


FULL = Size(tests=4000, pairs=200, requests_per_slot=120)
QUICK = Size(tests=200, pairs=60, requests_per_slot=60)

Bools = NDArray[np.bool_]
Method = Callable[[Floats], Bools]


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Simulates, writes results.json and figure.png into `out`, returns the results."""
    size = QUICK if quick else FULL
    rows = [row for phi in AUTOCORRELATIONS for row in _rows(phi, size)]
    checks = [
        _common.check(
            f"false accepts, {row['outcome']}, autocorrelation {row['autocorrelation']:g}",
            row["accepted_share"],
            "share of tests",
            ALPHA,
            "at_most",
        )
        for row in rows
        if row["method"] == "e-process"
    ]
    results = _common.results(
        "aa_false_accepts",
        packages=("numpy", "scipy"),
        seeds=[SEED],
        rows=rows,
        checks=checks,
        quick=quick,
    )
    _common.write(out, results)
    _figure(rows, out / "figure.png")
    return results


def _rows(phi: float, size: Size) -> list[dict[str, Any]]:
    differences = _simulate(phi, size)
    rows = []
    for outcome in OUTCOMES:
        for method, accepts in METHODS.items():
            share = float(accepts(differences[outcome]).mean())
            rows.append(
                {
                    "autocorrelation": phi,
                    "outcome": outcome,
                    "method": method,
                    "tests": size.tests,
                    "looks": 1 if method.endswith("one look") else size.pairs,
                    "accepted_share": share,
                    "standard_error": math.sqrt(share * (1 - share) / size.tests),
                }
            )
    return rows


def _simulate(phi: float, size: Size) -> dict[str, Floats]:
    """The signed differences of every test's pairs, shape (tests, pairs), by outcome."""
    rng = np.random.default_rng([SEED, round(1000 * phi)])
    parts: dict[str, list[Floats]] = {outcome: [] for outcome in OUTCOMES}
    for start in range(0, size.tests, size.batch):
        count = min(size.batch, size.tests - start)
        slots = _latencies(rng, phi, count, size)
        treatment_first = np.array(
            [
                [arm_of(seed, 2 * pair) is Arm.TREATMENT for pair in range(size.pairs)]
                for seed in rng.integers(2**62, size=count).tolist()
            ]
        )
        for outcome, of_slot in zip(OUTCOMES, _slot_outcomes(slots), strict=True):
            gain = of_slot[:, 0::2] - of_slot[:, 1::2]  # of the first slot over the second
            parts[outcome].append(np.where(treatment_first, gain, -gain))
    return {outcome: np.concatenate(part) for outcome, part in parts.items()}


def _latencies(rng: np.random.Generator, phi: float, count: int, size: Size) -> Floats:
    """Standardised log latencies of one AR(1) stream a test, shape (count, slots, requests)."""
    length = 2 * size.pairs * size.requests_per_slot
    noise = rng.standard_normal((count, length)) * math.sqrt(1 - phi * phi)
    noise[:, 0] /= math.sqrt(1 - phi * phi)  # starts in its stationary state
    stream = signal.lfilter([1.0], [1.0, -phi], noise, axis=1) if phi else noise
    slots: Floats = stream.reshape(count, 2 * size.pairs, size.requests_per_slot)
    return slots


def _slot_outcomes(slots: Floats) -> tuple[Floats, Floats]:
    """Per slot: share within the SLO; minus the log of the mean latency. Higher is better."""
    attainment = (slots <= stats.norm.ppf(ATTAINED)).mean(axis=2)
    return attainment, -np.log(np.exp(SIGMA * slots).mean(axis=2))


def _e_process(differences: Floats) -> Bools:
    log_e = log_e_paths(differences, Plan().prior_sd)
    return np.asarray(log_e.max(axis=1) >= -math.log(ALPHA), dtype=np.bool_)


def _t_statistics(differences: Floats) -> tuple[Floats, Floats]:
    """One-sided paired t after each pair from the third on, and its critical values."""
    n = np.arange(1, differences.shape[1] + 1)
    mean = differences.cumsum(axis=1) / n
    squares = (differences**2).cumsum(axis=1) - n * mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / np.sqrt(np.maximum(squares, 0) / (n - 1) / n)
    return np.nan_to_num(t[:, 2:]), stats.t.ppf(1 - ALPHA, n[2:] - 1)


def _peeked_t(differences: Floats) -> Bools:
    t, critical = _t_statistics(differences)
    return np.asarray((t > critical).any(axis=1), dtype=np.bool_)


def _t_once(differences: Floats) -> Bools:
    t, critical = _t_statistics(differences)
    return np.asarray(t[:, -1] > critical[-1], dtype=np.bool_)


METHODS: dict[str, Method] = {
    "e-process": _e_process,
    "paired t, peeked": _peeked_t,
    "paired t, one look": _t_once,
}


def _figure(rows: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(9, 3.6))
    axes = figure.subplots(1, len(OUTCOMES), sharey=True, squeeze=False)
    width = 0.8 / len(METHODS)
    for axis, outcome in zip(axes[0], OUTCOMES, strict=True):
        for place, method in enumerate(METHODS):
            chosen = [r for r in rows if (r["outcome"], r["method"]) == (outcome, method)]
            x = np.arange(len(chosen)) + (place - (len(METHODS) - 1) / 2) * width
            shares = [100 * r["accepted_share"] for r in chosen]
            errors = [200 * r["standard_error"] for r in chosen]
            bars = axis.bar(x, shares, width, yerr=errors, label=method, capsize=2)
            axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
        axis.axhline(100 * ALPHA, color="black", linestyle="--", linewidth=1)
        axis.set_xticks(range(len(AUTOCORRELATIONS)), [f"{phi:g}" for phi in AUTOCORRELATIONS])
        axis.set_xlabel("autocorrelation of neighbouring requests")
        axis.set_title(outcome, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("A/A tests accepted, %")
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="upper center", ncols=3, frameon=False
    )
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    figure.savefig(path, dpi=120)
