"""A test's evidence: the figures of a look, guardrails, what is still within reach."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.abtest.eprocess import Floats, log_e_paths
from autotuner.abtest.evidence import WORTHWHILE, Evidence, evidence_of
from autotuner.domain.experiment import Guardrail, Plan

TAIL = Guardrail("e2el_p95", margin=0.1, prior_sd=0.1)  # a ratio: a shift of log 1.1
ERRORS = Guardrail("error_share", margin=0.01, prior_sd=0.005)  # a share: a shift of 0.01
PLAN = Plan(outcome="attainment", prior_sd=0.1, guardrails=(TAIL, ERRORS))
BARE = Plan(outcome="e2el", prior_sd=0.1)
THRESHOLD = math.log(20)
NOTHING: Mapping[str, float] = {}


def _after(differences: Sequence[float], plan: Plan = BARE) -> Evidence:
    evidence = Evidence.start(plan)
    for difference in differences:
        evidence = evidence.update(difference, NOTHING)
    return evidence


def _guarded(tail: Sequence[float], errors: Sequence[float] | None = None) -> Evidence:
    """After pairs whose primary difference is 0."""
    evidence = Evidence.start(PLAN)
    for d, e in zip(tail, errors or [math.nan] * len(tail), strict=True):
        evidence = evidence.update(0.0, {"e2el_p95": d, "error_share": e})
    return evidence


def _normal(mean: float, sd: float, n: int, seed: int = 1) -> list[float]:
    return [float(d) for d in np.random.default_rng(seed).normal(mean, sd, n)]


# ---- a look
def test_a_look_is_what_the_whole_path_gives() -> None:
    data = _normal(0.08, 0.1, 30)
    look = _after(data).look()
    better, worse = (log_e_paths(np.array(d), 0.1) for d in (data, [-d for d in data]))
    assert look.pairs == 30
    assert look.log_e_benefit == pytest.approx(better[-1], abs=1e-9)
    assert look.log_e_harm == pytest.approx(worse[-1], abs=1e-9)
    assert look.confidence == pytest.approx(1 - math.exp(-max(0.0, float(better.max()))))
    assert look.effect == pytest.approx(math.fsum(data) / 30, abs=1e-12)
    assert look.low < look.effect < look.high
    assert all(type(value) is float for value in (look.log_e_benefit, look.confidence, look.effect))


def test_before_the_first_pair_nothing_is_known() -> None:
    look = Evidence.start(PLAN).look()
    assert (look.pairs, look.confidence) == (0, 0.0)
    assert look.log_e_benefit == pytest.approx(0, abs=1e-12)
    assert look.log_e_harm == pytest.approx(0, abs=1e-12)
    assert (look.low, look.high) == (-1.0, 1.0)
    assert math.isnan(look.effect)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("mean", [0.05, 0.1, 0.5])
def test_zero_is_below_the_bounds_exactly_when_the_test_accepts(alpha: float, mean: float) -> None:
    evidence, accepted = Evidence.start(replace(BARE, alpha=alpha)), False
    for difference in _normal(mean, 0.1, 60):
        evidence = evidence.update(difference, NOTHING)
        look = evidence.look()
        accepted = accepted or look.log_e_benefit >= -math.log(alpha)
        assert accepted == (look.low >= 0)
    assert accepted or mean == 0.05


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12))
@settings(deadline=None, max_examples=20)
def test_the_benefit_of_d_is_the_harm_of_minus_d(differences: list[float]) -> None:
    look, mirrored = _after(differences).look(), _after([-d for d in differences]).look()
    assert look.log_e_benefit == pytest.approx(mirrored.log_e_harm, abs=1e-9)
    assert look.log_e_harm == pytest.approx(mirrored.log_e_benefit, abs=1e-9)
    assert look.effect == pytest.approx(-mirrored.effect, abs=1e-12)


def test_the_two_sided_interval_holds_the_bounds() -> None:
    evidence = _after(_normal(0.1, 0.1, 40))
    low, high = evidence.interval()
    assert low < evidence.look().low < evidence.look().high < high


def test_the_next_look_costs_the_same_after_many_pairs() -> None:
    few, many = _after([0.1]), _after(_normal(0.0, 0.1, 200))
    for grown in (few, many):
        state = grown.primary.tests.upward
        floats = sum(getattr(state, name).size for name in ("total", "squares", "magnitudes"))
        assert floats < 20_000


# ---- guardrails
@pytest.mark.parametrize(("mean", "kept", "broken"), [(0.0, True, False), (-0.3, False, True)])
def test_a_guardrail_is_kept_or_broken_about_its_margin(
    mean: float, kept: bool, broken: bool
) -> None:
    tail = _normal(mean, 0.05, 25)
    look = _guarded(tail).look().guardrails[0]
    shift = math.log1p(0.1)
    assert look.log_e_kept == pytest.approx(log_e_paths(np.array(tail) + shift, 0.1)[-1], abs=1e-9)
    assert look.log_e_broken == pytest.approx(
        log_e_paths(-np.array(tail) - shift, 0.1)[-1], abs=1e-9
    )
    assert (look.log_e_kept >= THRESHOLD) == kept
    assert (look.log_e_broken >= THRESHOLD) == broken
    assert (look.low >= -shift) == kept
    assert (look.high <= -shift) == broken
    assert look.effect == pytest.approx(np.mean(tail))
    assert (look.measure, look.pairs) == ("e2el_p95", 25)


def test_a_guardrail_within_its_margin_but_too_noisy_is_neither() -> None:
    look = _guarded(_normal(-0.05, 0.3, 20)).look().guardrails[0]
    assert max(look.log_e_kept, look.log_e_broken) < THRESHOLD


def test_a_share_is_compared_in_its_own_units() -> None:
    errors = _normal(0.0, 0.002, 15)
    look = _guarded([math.nan] * 15, errors).look().guardrails[1]
    assert look.log_e_kept == pytest.approx(
        log_e_paths(np.array(errors) + 0.01, 0.005)[-1], abs=1e-9
    )
    assert look.log_e_kept >= THRESHOLD


def test_what_was_never_measured_is_neither_kept_nor_broken() -> None:
    look = _guarded([0.0] * 20).look().guardrails[1]
    assert (look.measure, look.pairs) == ("error_share", 0)
    assert look.log_e_kept == pytest.approx(0, abs=1e-12)
    assert look.log_e_broken == pytest.approx(0, abs=1e-12)
    assert math.isnan(look.effect)
    assert (look.low, look.high) == (-1.0, 1.0)


def test_a_pair_without_the_measure_is_no_data_for_it_and_counts_for_the_primary() -> None:
    tail = _normal(0.0, 0.05, 10)
    gaps = [d for pair in tail for d in (pair, math.nan)]
    with_gaps, without = _guarded(gaps).look(), _guarded(tail).look()
    assert with_gaps.guardrails == without.guardrails
    assert (with_gaps.pairs, without.pairs) == (20, 10)


@pytest.mark.parametrize("behind", [0.0, 0.05])
def test_one_that_is_worse_by_the_margin_or_more_is_rarely_kept(behind: float) -> None:
    # Exact: every sign of nine differences about a centre at the margin or beyond it.
    signs: Floats = np.array(list(itertools.product((-1.0, 1.0), repeat=9)))
    sizes = np.abs(np.random.default_rng(2).standard_t(2, 9)) * 0.1
    shift = math.log1p(TAIL.margin)
    differences = signs * sizes - shift - behind
    log_e = log_e_paths(differences + shift, TAIL.prior_sd)
    assert np.all(np.exp(log_e).mean(axis=0) <= 1 + 1e-9)
    assert (log_e.max(axis=1) >= THRESHOLD).mean() <= 0.05
    best = _guarded(list(differences[-1])).look().guardrails[0]
    assert best.log_e_kept == pytest.approx(log_e[-1, -1], abs=1e-9)


# ---- remembered
def test_remembered_evidence_is_that_of_one_pair_after_the_other() -> None:
    primary, tail = _normal(0.1, 0.1, 12), _normal(0.0, 0.05, 12, 2)
    guardrails = [{"e2el_p95": d, "error_share": math.nan} for d in tail]
    plain = Evidence.start(PLAN)
    for n, (difference, found) in enumerate(zip(primary, guardrails, strict=True), 1):
        plain = plain.update(difference, found)
        asked = evidence_of(primary[:n], guardrails[:n], PLAN).look()
        assert asked.guardrails[0] == plain.look().guardrails[0]
        assert replace(asked, guardrails=()) == replace(plain.look(), guardrails=())


def test_a_nan_that_was_read_anew_is_remembered_too() -> None:
    def asked() -> Evidence:
        plan = replace(PLAN, price_per_hour=float("nan"))
        return evidence_of([0.1, 0.2], [{"e2el_p95": float("nan")}, {}], plan)

    assert asked() is asked()


def test_another_level_or_another_margin_is_another_question() -> None:
    data, nothing = _normal(0.1, 0.1, 20), [NOTHING] * 20
    strict = replace(PLAN, alpha=0.001)
    assert (
        evidence_of(data, nothing, strict).look().low < evidence_of(data, nothing, PLAN).look().low
    )


# ---- what is within reach
def test_seven_pairs_can_accept_and_six_cannot() -> None:
    fresh = Evidence.start(BARE)
    assert fresh.acceptable(7)
    assert not fresh.acceptable(6)
    assert _after([0.3] * 6).acceptable(1)
    assert not _after([0.3] * 6).acceptable(0)
    assert _after([0.3] * 7).acceptable(0)


def test_a_guardrail_that_cannot_be_proven_any_more_makes_acceptance_unreachable() -> None:
    assert not Evidence.start(PLAN).acceptable(6)
    assert Evidence.start(PLAN).acceptable(12)
    assert not _guarded([-0.3] * 10).acceptable(7)


def test_what_a_bounded_measure_can_still_show_is_bounded_too() -> None:
    # A share that is bad by 1 ten times over needs more good pairs than a ratio without bounds.
    bounded = _after([-1.0] * 4, replace(BARE, outcome="attainment"))
    assert bounded.acceptable(40)
    assert not bounded.acceptable(6)


def test_a_worthwhile_gain_is_refuted_by_seven_losses() -> None:
    assert not Evidence.start(BARE).refutable(6)
    assert Evidence.start(BARE).refutable(7)
    refuted = _after([-0.3] * 7)
    assert refuted.refutable(0)
    assert refuted.look().high < WORTHWHILE
    assert not _after([0.3] * 8).refutable(3)


# ---- refusals
@pytest.mark.parametrize("difference", [math.nan, math.inf])
def test_a_primary_that_is_no_number_is_refused(difference: float) -> None:
    with pytest.raises(ValueError, match="difference="):
        Evidence.start(BARE).update(difference, NOTHING)


def test_a_guardrail_that_is_infinite_is_refused() -> None:
    with pytest.raises(ValueError, match="difference="):
        Evidence.start(PLAN).update(0.1, {"e2el_p95": math.inf})


@pytest.mark.parametrize(
    "plan", [Plan(outcome="speed"), Plan(guardrails=(Guardrail("speed", 0.1),))]
)
def test_an_unknown_measure_is_refused(plan: Plan) -> None:
    with pytest.raises(ValueError, match="'speed' is no measure"):
        Evidence.start(plan)
