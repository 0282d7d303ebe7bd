"""How often a change that does nothing is accepted when the test is looked at after every pair.

Simulated and resampled A/A tests: the real coin says which slot of a pair is called treatment, and
every method sees the same pairs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from experiments.studies import _common
from experiments.studies._adjusting import adjusted
from experiments.studies.aa_false_accepts.figure import draw
from experiments.studies.aa_false_accepts.methods import (
    ADJUSTED,
    ALPHA,
    METHODS,
    ever_accepted,
)
from experiments.studies.aa_false_accepts.pairs import Bools
from experiments.studies.aa_false_accepts.real_noise import read
from experiments.studies.aa_false_accepts.scenarios import Size, World, worlds

SEED = 20
MISSING = "real machines' noise: ../shared/data/vm-noise is not there"
FULL = Size(tests=2000, pairs=400, requests_per_slot=120)
QUICK = Size(tests=200, pairs=60, requests_per_slot=60)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Simulates, writes results.json and figure.png into `out`, returns the results."""
    size = QUICK if quick else FULL
    benchmarks = read()
    rows = [row for world in worlds(SEED, size, benchmarks) for row in _rows(world)]
    results = _common.results(
        "aa_false_accepts",
        packages=("numpy", "scipy"),
        seeds=[SEED],
        rows=rows,
        checks=_checks(rows),
        quick=quick,
        skipped=[] if benchmarks else [MISSING],
    )
    _common.write(out, results)
    draw(rows, out / "figure.png")
    return results


def _rows(world: World) -> list[dict[str, Any]]:
    rows = [_row(world, m.name, m.accepts(world.pairs), m.looks) for m in METHODS]
    if world.covariates is not None:
        differences = adjusted(world.pairs.differences, world.covariates)
        rows.append(_row(world, ADJUSTED, ever_accepted(differences), None))
    return rows


def _row(world: World, method: str, accepted: Bools, looks: int | None) -> dict[str, Any]:
    tests, pairs = world.pairs.control.shape
    share = float(accepted.mean())
    return {
        "scenario": world.scenario,
        "design": world.design,
        "outcome": world.outcome,
        "method": method,
        "tests": tests,
        "looks": looks or pairs,
        "accepted_share": share,
        "standard_error": math.sqrt(share * (1 - share) / tests),
        "claimed": world.claimed and method in ("e-process", ADJUSTED),
    }


def _checks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for each scenario of the e-process: its worst outcome."""
    shares: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["claimed"]:
            adjusted_too = ", covariates regressed out" if row["method"] == ADJUSTED else ""
            shares[f"{row['scenario']}{adjusted_too}"].append(row["accepted_share"])
    return [
        _common.check(f"false accepts, {name}", max(found), "share of tests", ALPHA, "at_most")
        for name, found in shares.items()
    ]
