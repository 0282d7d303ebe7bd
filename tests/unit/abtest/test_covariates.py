"""What traffic explains: rows, the regression, and that adjusting leaves the test valid."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.abtest.covariates import COVARIATES, Regression, Row, explained, row
from autotuner.abtest.eprocess import EProcess, Floats, log_e_paths
from autotuner.domain.experiment import Pair, SlotOutcome

ALL = tuple(COVARIATES)
SERVED = SlotOutcome(100, 80, 0, 0, 50.0, 0.5, 0.05, 2.0, 10_000, 5_000)
FINITE = st.floats(-3, 3, allow_subnormal=False)


# ---- rows
def test_a_row_holds_log_ratios_of_treatment_to_control() -> None:
    busier = replace(SERVED, requests=150, straddlers=50, prompt_tokens=30_000)
    assert row(SERVED, busier, ALL) == pytest.approx(
        (math.log(2), math.log(2), math.log(5000 / 150 / 50))
    )
    assert row(SERVED, busier, ("prompt_tokens",)) == pytest.approx((math.log(2),))


def test_swapping_the_arms_turns_a_row_into_its_negative() -> None:
    other = replace(SERVED, requests=70, output_tokens=9_000)
    there, back = row(SERVED, other, ALL), row(other, SERVED, ALL)
    assert there == pytest.approx([-z for z in back])


@pytest.mark.parametrize(
    "missing", [{"requests": 0}, {"counted_s": 0.0}, {"prompt_tokens": 0}, {"output_tokens": 0}]
)
def test_what_is_missing_on_one_side_explains_nothing(missing: dict[str, float]) -> None:
    broken = replace(SERVED, **missing)  # type: ignore[arg-type]
    for found in (row(SERVED, broken, ALL), row(broken, SERVED, ALL)):
        assert all(math.isfinite(z) for z in found)
        assert 0.0 in found


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"\['weather'\].*offered_load, prompt_tokens"):
        row(SERVED, SERVED, ("offered_load", "weather"))


# ---- the regression
def _fed(rows: Floats, differences: Floats) -> Regression:
    regression = Regression.start(rows.shape[1])
    for z, d in zip(rows, differences, strict=True):
        regression = regression.update(tuple(z), float(d))
    return regression


def _load_driven(n: int, effect: float, seed: int = 1) -> tuple[Floats, Floats]:
    """Rows and differences of which the first covariate explains four fifths."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 0.2, (n, 3))
    return rows, effect - rows[:, 0] + rng.normal(0, 0.1, n)


def _adjusted(rows: Floats, differences: Floats) -> Floats:
    regression, adjusted = Regression.start(rows.shape[1]), []
    for z, d in zip(rows, differences, strict=True):
        adjusted.append(d - regression.predict(tuple(z)))
        regression = regression.update(tuple(z), float(d))
    return np.array(adjusted)


def test_it_is_ridge_regression_on_all_earlier_pairs() -> None:
    rows, differences = _load_driven(20, 0.05)
    # Ridge as least squares: one more row per covariate, as large as its root mean square.
    design = np.column_stack([np.ones(20), rows])
    penalty = np.diag([0.0, *np.sqrt((rows**2).mean(axis=0))])[1:]
    augmented = np.vstack([design, penalty]), np.concatenate([differences, np.zeros(3)])
    coefficients = np.linalg.lstsq(*augmented, rcond=None)[0]
    asked = (0.1, -0.2, 0.05)
    expected = float(coefficients[1:] @ np.array(asked))
    assert _fed(rows, differences).predict(asked) == pytest.approx(expected, abs=1e-9)


def test_too_few_pairs_explain_nothing() -> None:
    rows, differences = _load_driven(30, 0.05)
    predictions = [_fed(rows[:n], differences[:n]).predict((0.2, 0.0, 0.0)) for n in range(30)]
    assert predictions[:5] == [0.0] * 5
    assert predictions[-1] == pytest.approx(-0.2, abs=0.08)


def test_what_it_takes_off_is_noise_and_not_the_effect() -> None:
    rows, differences = _load_driven(200, 0.15)
    adjusted = _adjusted(rows, differences)[20:]
    assert adjusted.std() < 0.6 * differences[20:].std()
    assert adjusted.mean() == pytest.approx(0.15, abs=0.03)


def test_traffic_that_explains_nothing_leaves_the_differences_nearly_alone() -> None:
    rng = np.random.default_rng(5)
    raw, adjusted = [], []
    for _ in range(10):
        rows, differences = rng.normal(0, 0.2, (60, 3)), rng.normal(0.05, 0.1, 60)
        raw.append(differences.std())
        adjusted.append(_adjusted(rows, differences).std())
    assert np.mean(adjusted) < 1.03 * np.mean(raw)


def test_a_load_driven_series_is_decided_with_fewer_pairs() -> None:
    needed = []
    for seed in range(40):
        rows, differences = _load_driven(100, 0.1, seed)
        both = np.stack([differences, _adjusted(rows, differences)])
        needed.append(np.argmax(log_e_paths(both, 0.2) >= math.log(20), axis=1) + 1)
    raw, adjusted = np.median(needed, axis=0)
    assert adjusted < 0.7 * raw


def test_a_covariate_that_never_moved_and_a_lull_do_no_damage() -> None:
    rows, differences = _load_driven(40, 0.05)
    rows[:, 1] = 0.0
    regression = _fed(rows, differences)
    assert regression.predict((0.0, 5.0, 0.0)) == 0.0
    sane, wild = regression.predict((-0.6, 0.0, 0.0)), regression.predict((-60.0, 0.0, 0.0))
    assert sane <= wild < 2 * sane  # a covariate is followed so far and no further


@pytest.mark.parametrize(("z", "d"), [((math.nan,), 0.1), ((0.1,), math.inf)])
def test_what_is_no_number_is_refused(z: Row, d: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        Regression.start(1).update(z, d)


# ---- validity
@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=6, max_size=15), FINITE, FINITE)
@settings(deadline=None, max_examples=40)
def test_swapping_the_next_pair_turns_its_adjusted_difference_into_its_negative(
    past: list[tuple[float, float, float]], z: float, d: float
) -> None:
    seen = np.array(past)
    regression = _fed(seen[:, :2], seen[:, 2])
    there, swapped = (d - regression.predict((z, -z)), -d - regression.predict((-z, z)))
    assert there == pytest.approx(-swapped, abs=1e-9)


def _every_path(rows: Floats, differences: Floats, swapped: bool = True) -> Floats:
    """The adjusted differences under all 2^n assignments of the arms, shape (2^n, n).

    `swapped`: the covariates change sides with the arms, as they do in a test.
    """
    paths = [(Regression.start(rows.shape[1]), np.zeros(0))]
    for z, d in zip(rows, differences, strict=True):
        paths = [
            (
                regression.update(seen, sign * d),
                np.append(so_far, sign * d - regression.predict(seen)),
            )
            for regression, so_far in paths
            for sign in (-1.0, 1.0)
            for seen in (tuple((sign if swapped else 1.0) * z),)
        ]
    return np.stack([so_far for _, so_far in paths])


@pytest.mark.parametrize("kind", ["explains all", "explains nothing", "heavy"])
def test_adjusted_by_its_traffic_the_test_stays_a_fair_game(kind: str) -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(0, 0.2, (11, 1))
    differences = {
        "explains all": 0.5 * rows[:, 0] + rng.normal(0, 0.01, 11),
        "explains nothing": rng.normal(0, 0.1, 11),
        "heavy": 0.1 * rng.standard_cauchy(11),
    }[kind]
    adjusted = _every_path(rows, differences)
    assert adjusted.shape == (2048, 11)
    log_e = log_e_paths(adjusted, 0.1)
    assert np.all(np.exp(log_e).mean(axis=0) <= 1 + 1e-9)
    assert (log_e.max(axis=1) >= math.log(20)).mean() <= 0.05
    if kind == "explains all":
        assert adjusted[:, -1].std() < 0.5 * abs(differences[-1])


def test_the_enumeration_can_tell_covariates_that_do_not_change_sides() -> None:
    rng = np.random.default_rng(1)
    rows, differences = rng.normal(0, 0.2, (10, 1)), rng.normal(0, 0.1, 10)
    right, wrong = (
        np.exp(log_e_paths(_every_path(rows, differences, swapped), 0.1)).mean(axis=0).max()
        for swapped in (True, False)
    )
    assert right <= 1 + 1e-9
    assert wrong > 1.05


# ---- pairs
def test_explained_is_the_regression_of_the_earlier_pairs() -> None:
    rng = np.random.default_rng(9)
    pairs: list[Pair] = []
    regression = Regression.start(3)
    for index in range(12):
        treatment = replace(
            SERVED,
            requests=int(rng.integers(60, 140)),
            prompt_tokens=int(rng.integers(5_000, 20_000)),
        )
        z = row(SERVED, treatment, ALL)
        expected = regression.predict(z)
        assert explained(pairs, SERVED, treatment, ALL) == pytest.approx(expected, abs=1e-12)
        difference = 0.1 - 0.3 * z[0] + float(rng.normal(0, 0.02))
        pairs.append(Pair(index, difference, SERVED, treatment, expected))
        regression = regression.update(z, difference)
    assert pairs[-1].adjustment != 0.0
    assert pairs[-1].adjusted == pairs[-1].difference - pairs[-1].adjustment


def test_without_covariates_nothing_is_explained() -> None:
    assert explained([], SERVED, SERVED, ()) == 0.0
    assert EProcess.of([0.1 - explained([], SERVED, SERVED, ())], 0.1).n == 1
