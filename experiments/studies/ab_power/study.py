"""How many pairs does a test that may be looked at after every pair need to accept a true gain?

Simulated pairs with a true effect, by the evidence and the regression that live tests use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotuner.abtest.eprocess import Floats
from experiments.studies import _common
from experiments.studies._adjusting import adjusted
from experiments.studies.ab_power.deciding import (
    MIXTURE,
    PARTS,
    POWER,
    fixed_size,
    pairs_needed,
    quantile,
)
from experiments.studies.ab_power.figure import draw
from experiments.studies.ab_power.load import load_driven

SEED = 21
EFFECTS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
# Beside the claims: other noise, and a scale that was wrong three times over.
WORLDS = (("normal", 1.0), ("normal", 1 / 3), ("normal", 3.0), ("Laplace", 1.0), ("t(3)", 1.0))
# (effect, share of the variance that load causes); the claim is for three quarters.
LOADS = tuple((effect, share) for effect in (0.25, 0.5) for share in (0.25, 0.5, 0.75))
CLAIMED_SHARE = 0.75
LEAST_SAVED = 0.3


@dataclass(frozen=True)
class Size:
    tests: int
    loaded_tests: int


FULL = Size(tests=4000, loaded_tests=2000)
QUICK = Size(tests=200, loaded_tests=60)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Simulates, writes results.json and figure.png into `out`, returns the results."""
    size = QUICK if quick else FULL
    power = [row for noise, scale in WORLDS for row in _effects(noise, scale, size)]
    load = [_loaded(effect, explained, size) for effect, explained in LOADS]
    claimed = [row for row in power if (row["noise"], row["scale_sd"]) == WORLDS[0]]
    results = _common.results(
        "ab_power",
        packages=("numpy", "scipy"),
        seeds=[SEED],
        rows=[*power, *load],
        checks=[*_power_checks(claimed), *_load_checks(load)],
        quick=quick,
    )
    _common.write(out, results)
    draw(claimed, load, out / "figure.png")
    return results


def horizon(effect: float) -> int:
    """Pairs that are simulated: three times what the fixed-size test needs, and at least 40."""
    return max(40, math.ceil(3 * fixed_size(effect)))


def _effects(noise: str, scale: float, size: Size) -> list[dict[str, Any]]:
    rows = []
    for effect in EFFECTS:
        rng = np.random.default_rng([SEED, round(100 * effect)])
        differences = effect + _noise(rng, noise, (size.tests, horizon(effect)))
        for test, needed in pairs_needed(differences, scale).items():
            rows.append(
                {
                    "noise": noise,
                    "scale_sd": scale,
                    "effect_sd": effect,
                    "test": test,
                    "tests": size.tests,
                    "median_pairs": quantile(needed, 0.5),
                    "pairs_80": quantile(needed, POWER),
                    "fixed_pairs": fixed_size(effect),
                }
            )
    return rows


def _noise(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> Floats:
    """Symmetric, of standard deviation 1."""
    if name == "Laplace":
        return rng.laplace(0, 1 / math.sqrt(2), shape)
    if name == "t(3)":
        return rng.standard_t(3, shape) / math.sqrt(3)
    return rng.standard_normal(shape)


def _loaded(effect: float, explained: float, size: Size) -> dict[str, Any]:
    rng = np.random.default_rng([SEED, round(100 * effect), round(100 * explained)])
    tests, pairs = size.loaded_tests, horizon(effect)
    differences, covariates = load_driven(rng, effect, explained, tests, pairs)
    without = quantile(pairs_needed(differences, 1.0)[MIXTURE], 0.5)
    with_them = quantile(pairs_needed(adjusted(differences, covariates), 1.0)[MIXTURE], 0.5)
    if without is None or with_them is None:
        raise RuntimeError(f"effect {effect:g}: half of the tests never accepted, simulate more")
    return {
        "noise": "load-driven",
        "effect_sd": effect,
        "explained": explained,
        "tests": tests,
        "pairs_without": without,
        "pairs_with": with_them,
        "saved": 1 - with_them / without,
    }


def _power_checks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    medians = {(row["effect_sd"], row["test"]): _or_infinite(row["median_pairs"]) for row in rows}
    mixture = {effect: medians[effect, MIXTURE] for effect in EFFECTS}
    above = [mixture[e] - min(medians[e, part] for part in PARTS) for e in EFFECTS]
    checks = [
        _check("most that the mixture needs above its best part alone, any effect", max(above), 3),
        _check("median pairs at 2 sd and more", max(mixture[e] for e in EFFECTS if e >= 2), 7),
        _check("median pairs at 1 sd", mixture[1.0], 12),
    ]
    for effect in (e for e in EFFECTS if e <= 0.5):
        name = f"median pairs at {effect:g} sd against the fixed-size test's"
        checks.append(_check(name, mixture[effect] / fixed_size(effect), 1.3, "times"))
    return checks


def _load_checks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        _common.check(
            f"pairs saved by covariates at {row['effect_sd']:g} sd, load 3/4 of the variance",
            row["saved"],
            "share of pairs",
            LEAST_SAVED,
            "at_least",
        )
        for row in rows
        if row["explained"] == CLAIMED_SHARE
    ]


def _check(name: str, value: float, target: float, unit: str = "pairs") -> dict[str, Any]:
    return _common.check(name, value, unit, target, "at_most")


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value
