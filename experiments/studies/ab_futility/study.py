"""What does giving up tests that promise nothing save, and what does it cost in power?

Simulated pairs with a true effect, by the evidence that live tests use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.studies import _common
from experiments.studies.ab_futility.deciding import ended
from experiments.studies.ab_futility.figure import draw

SEED = 33
EFFECTS = (-1.0, -0.5, -0.25, 0.0, 0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.5)
LEVELS = (0.0, 0.9, 0.95, 0.99)
OWN = 0.95  # the configuration's default
BUDGETS = (14, 30, 60)
CLAIMED = 30
TESTS, QUICK_TESTS = 2000, 50


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Simulates, writes results.json and figure.png into `out`, returns the results."""
    tests = QUICK_TESTS if quick else TESTS
    rows = [row for budget in BUDGETS for effect in EFFECTS for row in _rows(budget, effect, tests)]
    results = _common.results(
        "ab_futility",
        packages=("numpy", "scipy"),
        seeds=[SEED],
        rows=rows,
        checks=_checks([row for row in rows if row["budget"] == CLAIMED]),
        quick=quick,
    )
    _common.write(out, results)
    draw([row for row in rows if row["budget"] == CLAIMED], out / "figure.png")
    return results


def _rows(budget: int, effect: float, tests: int) -> list[dict[str, Any]]:
    """All levels see the same differences."""
    rng = np.random.default_rng([SEED, budget, round(100 * (effect + 10))])
    differences = effect + rng.standard_normal((tests, budget))
    rows = []
    for level in LEVELS:
        found = ended(differences, 1.0, level)
        rows.append(
            {
                "budget": budget,
                "effect_sd": effect,
                "level": level,
                "tests": tests,
                "mean_pairs": round(float(found.pairs.mean()), 3),
                "accepted": round(float(found.accepted.mean()), 5),
                "harmful": round(float(found.harmful.mean()), 5),
            }
        )
    return rows


def _checks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    by = {(row["effect_sd"], row["level"]): row for row in rows}

    def lost(effect: float, what: str) -> float:
        return float(by[effect, 0.0][what] - by[effect, OWN][what])

    none = by[0.0, OWN]["mean_pairs"] / by[0.0, 0.0]["mean_pairs"]
    gains, harms = ([e for e in EFFECTS if sign * e > 0] for sign in (1, -1))
    return [
        _common.check("pairs saved where there is no effect", 1 - none, "share", 0.4, "at_least"),
        _common.check(
            "power lost, any gain", max(lost(e, "accepted") for e in gains), "share", 0.03,
            "at_most",
        ),
        _common.check(
            "harm not shown any more, any harm", max(lost(e, "harmful") for e in harms), "share",
            0.05, "at_most",
        ),
        _common.check(
            "acceptances where there is no effect", by[0.0, OWN]["accepted"], "share", 0.05,
            "at_most",
        ),
    ]  # fmt: skip
