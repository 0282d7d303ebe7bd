"""Verdicts and their words, from given differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from autotuner.abtest.analysis import look_at, pairs_left, reachable
from autotuner.abtest.conclusion import at_budget_end, early_conclusion, percent
from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    Pair,
    Plan,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.domain.knobs import Settings

SERVED = SlotOutcome(100, 80, 0, 0, 55, 0.5, 0.05, 2.0, 0, 0)


def _experiment(differences: Sequence[float], plan: Plan | None = None) -> Experiment:
    plan = plan or Plan(max_pairs=12)
    pairs = tuple(Pair(i, d, SERVED, SERVED) for i, d in enumerate(differences))
    slots = tuple(
        Slot(i, Arm.CONTROL, i + 1, 0.0, 5.0, 65.0, SERVED) for i in range(2 * len(pairs))
    )
    looks = tuple(look_at(pairs[: n + 1], plan) for n in range(len(pairs)))
    control, treatment = Settings({"a": 1}), Settings({"a": 2})
    return Experiment(
        "e", "t", control, treatment, plan, 1, 0.0, slots=slots, pairs=pairs, looks=looks
    )


def _early(differences: Sequence[float], breach: str | None = None) -> Conclusion | None:
    return early_conclusion(_experiment(differences), breach)


def test_seven_clear_pairs_accept_and_six_do_not() -> None:
    assert _early([0.3] * 6) is None
    seven = _early([0.3, 0.25, 0.31, 0.28, 0.33, 0.3, 0.29])
    assert seven is not None
    assert seven.verdict is Verdict.ACCEPTED
    assert seven.effect == pytest.approx(0.2943, abs=1e-4)
    assert 0.95 <= seven.confidence < 1
    assert "7 pairs: attainment +0.294, at least +0." in seven.reason
    assert "confidence that it is better: 96." in seven.reason


def test_seven_bad_pairs_are_harm() -> None:
    seven = _early([-0.3, -0.25, -0.31, -0.28, -0.33, -0.3, -0.29])
    assert seven is not None
    assert seven.verdict is Verdict.HARMFUL
    assert seven.high < 0
    assert seven.confidence >= 0.95


def test_a_breach_goes_before_a_win() -> None:
    ended = _early([0.3] * 8, "9 of 10 requests failed")
    assert ended is not None
    assert ended.verdict is Verdict.HARMFUL
    assert "hard limit: 9 of 10" in ended.reason


def test_no_difference_refutes_a_worthwhile_gain_before_the_budget_ends() -> None:
    ended = _early([0.0] * 8)
    assert ended is not None
    assert ended.verdict is Verdict.REJECTED
    assert "a gain of 0.02 or more is refuted" in ended.reason


def test_the_budgets_end() -> None:
    rng = np.random.default_rng(2)
    worse = at_budget_end(_experiment(list(rng.normal(-0.05, 0.05, 12))), "over")
    assert worse.verdict is Verdict.REJECTED
    assert worse.high < 0.02
    noisy = at_budget_end(_experiment(list(rng.normal(0.02, 0.1, 12))), "over")
    assert noisy.verdict is Verdict.INCONCLUSIVE
    assert noisy.low < 0 < noisy.high
    nothing = at_budget_end(_experiment([]), "over")
    assert nothing.verdict is Verdict.INCONCLUSIVE
    assert (nothing.pairs, nothing.low, nothing.high, nothing.confidence) == (0, -1, 1, 0)
    assert math.isnan(nothing.effect)


def test_futility_only_when_nothing_can_be_shown_any_more() -> None:
    assert _early([-0.5, -0.5]) is None  # harm is within reach
    noise = [0.1, -0.1, 0.08, -0.09, 0.11, -0.1, 0.1]
    ended = _early(noise)
    assert ended is not None
    assert ended.verdict is Verdict.INCONCLUSIVE
    assert "can't bring enough evidence" in ended.reason


def test_a_plan_of_six_pairs_is_futile_from_its_start() -> None:
    ended = early_conclusion(_experiment([], Plan(max_pairs=6)), None)
    assert ended is not None
    assert ended.verdict is Verdict.INCONCLUSIVE


def test_what_is_reachable_is_what_the_best_future_brings() -> None:
    plan = Plan()
    assert pairs_left(_experiment([0.1] * 3)) == 9
    assert not reachable([], 6, plan)
    assert reachable([], 7, plan)
    assert not reachable([0.3] * 7, 0, plan)  # of the future only
    assert reachable([-0.1], 20, plan)


@pytest.mark.parametrize(
    ("confidence", "text"),
    [
        (0.0, "0.0%"),
        (0.9499, "94.9%"),
        (0.95, "95.0%"),
        (0.9989, "99.8%"),
        (0.99999, "above 99.9%"),
        (1.0, "above 99.9%"),
    ],
)
def test_a_confidence_is_rounded_down_and_never_all(confidence: float, text: str) -> None:
    assert percent(confidence) == text
