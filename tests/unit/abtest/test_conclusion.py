"""Verdicts and their words, from given differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from autotuner.abtest.analysis import pairs_left
from autotuner.abtest.conclusion import at_budget_end, early_conclusion, percent
from autotuner.abtest.evidence import evidence_of
from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    Guardrail,
    Pair,
    Plan,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.domain.knobs import Settings

SERVED = SlotOutcome(100, 80, 0, 0, 55, 0.5, 0.05, 2.0, 0, 0)
GUARDED = Plan(max_pairs=30, guardrails=(Guardrail("error_share", 0.02, 0.02),))


def _experiment(
    differences: Sequence[float], plan: Plan | None = None, errors: Sequence[float] = ()
) -> Experiment:
    """A test with these differences; `errors`: the share that failed under the treatment."""
    plan = plan or Plan(max_pairs=12)
    rails = [
        {"error_share": -errors[i]} if i < len(errors) else {} for i, _ in enumerate(differences)
    ]
    pairs = tuple(Pair(i, d, SERVED, SERVED) for i, d in enumerate(differences))
    slots = tuple(
        Slot(i, arm, i + 1, 0.0, 5.0, 65.0, _served(errors, i) if arm is Arm.TREATMENT else SERVED)
        for i, arm in enumerate((Arm.CONTROL, Arm.TREATMENT) * len(pairs))
    )
    looks = tuple(
        evidence_of(differences[: n + 1], rails[: n + 1], plan).look() for n in range(len(pairs))
    )
    control, treatment = Settings({"a": 1}), Settings({"a": 2})
    return Experiment(
        "e", "t", control, treatment, plan, 1, 0.0, slots=slots, pairs=pairs, looks=looks
    )


def _served(errors: Sequence[float], slot: int) -> SlotOutcome:
    if slot // 2 >= len(errors):
        return SERVED
    failed = round(1000 * errors[slot // 2])
    return replace(SERVED, requests=1000, good=1000 - failed, failed=failed)


def _early(differences: Sequence[float], breach: str | None = None) -> Conclusion | None:
    return early_conclusion(_experiment(differences), breach)


def test_seven_clear_pairs_accept_and_six_do_not() -> None:
    assert _early([0.3] * 6) is None
    seven = _early([0.3, 0.25, 0.31, 0.28, 0.33, 0.3, 0.29])
    assert seven is not None
    assert seven.verdict is Verdict.ACCEPTED
    assert seven.effect == pytest.approx(0.2943, abs=1e-4)
    assert 0.95 <= seven.confidence < 1
    assert "7 pairs: attainment +29.4 points, at least +" in seven.reason
    assert "points, each bound at 95%" in seven.reason
    assert "confidence that it is better: 97." in seven.reason
    assert "under the treatment 140 of 700 requests (20.0%) missed the SLO" in seven.reason


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
    assert "a gain of 2 points or more is refuted" in ended.reason


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


NOTHING = (0.03, -0.04, 0.02, -0.03, 0.05, -0.02, -0.04, 0.03, -0.01, 0.02, -0.03, 0.01)
GIVES_UP = Plan(max_pairs=20, futility=0.95)


def test_what_promises_nothing_is_given_up_where_the_plan_says_so() -> None:
    assert early_conclusion(_experiment(NOTHING, Plan(max_pairs=20)), None) is None
    ended = early_conclusion(_experiment(NOTHING, GIVES_UP), None)
    assert ended is not None
    assert ended.verdict is Verdict.INCONCLUSIVE
    assert "unlikely that the pairs left can prove a gain" in ended.reason


def test_what_may_be_a_gain_or_harm_is_not_given_up() -> None:
    for shift in (0.03, -0.04):
        seen = [difference + shift for difference in NOTHING[:7]]
        assert early_conclusion(_experiment(seen, GIVES_UP), None) is None
    assert early_conclusion(_experiment(NOTHING[:4], GIVES_UP), None) is None


def test_a_plan_of_six_pairs_is_futile_from_its_start() -> None:
    ended = early_conclusion(_experiment([], Plan(max_pairs=6)), None)
    assert ended is not None
    assert ended.verdict is Verdict.INCONCLUSIVE


def test_pairs_that_were_judged_are_not_left() -> None:
    assert pairs_left(_experiment([0.1] * 3)) == 9


def test_a_gain_is_accepted_only_with_its_guardrails() -> None:
    kept = early_conclusion(_experiment([0.3] * 8, GUARDED, [0.0] * 8), None)
    assert kept is not None
    assert kept.verdict is Verdict.ACCEPTED
    assert "guardrails kept: share of errors" in kept.reason
    assert early_conclusion(_experiment([0.3] * 8, GUARDED, [0.018, 0.022] * 4), None) is None


def test_a_guardrail_that_is_not_shown_holds_back_an_accepted_gain_to_the_end() -> None:
    ended = at_budget_end(_experiment([0.3] * 30, GUARDED, [0.018, 0.022] * 15), "over")
    assert ended.verdict is Verdict.INCONCLUSIVE
    assert "over; the treatment is better, but it is not shown that share of errors got " in (
        ended.reason
    )
    assert "by less than 2 points (seen: +2.0 points)" in ended.reason


def test_a_guardrail_that_nobody_measured_is_not_kept() -> None:
    assert early_conclusion(_experiment([0.3] * 20, GUARDED), None) is None
    ended = at_budget_end(_experiment([0.3] * 30, GUARDED), "over")
    assert ended.verdict is Verdict.INCONCLUSIVE
    assert "its guardrail share of errors was never measured" in ended.reason


def test_a_broken_guardrail_is_harm_even_where_the_outcome_is_better() -> None:
    ended = early_conclusion(_experiment([0.3] * 12, GUARDED, [0.1] * 12), None)
    assert ended is not None
    assert ended.verdict is Verdict.HARMFUL
    assert ended.reason.startswith("guardrail: share of errors got worse by 2 points or more (")
    assert "confidence that share of errors got worse by 2 points or more: 9" in ended.reason
    assert ended.confidence >= 0.95


def test_several_watched_measures_need_stronger_evidence_of_harm_each() -> None:
    alone = Plan(max_pairs=30, outcome="e2el", guardrails=GUARDED.guardrails)
    many = replace(
        alone, guardrails=(*alone.guardrails, *(Guardrail(m, 0.1) for m in ("ttft", "gap_p95")))
    )
    first = [
        next(
            n
            for n in range(1, 30)
            if early_conclusion(_experiment([0.0] * n, plan, [0.1] * n), None) is not None
        )
        for plan in (alone, many)
    ]
    assert first[0] < first[1]


@pytest.mark.parametrize(
    ("outcome", "difference", "told"),
    [
        ("attainment", 0.05, "attainment +5.0 points"),
        ("error_share", 0.05, "share of errors -5.0 points"),
        ("e2el", math.log(2), "whole-request time -50.0%"),
        ("e2el", -math.log(30), "whole-request time 30 times as much"),
        ("goodput", math.log(1.2), "goodput +20.0%"),
        ("cost", math.log(1.25), "cost per million tokens -20.0%"),
        ("energy", -math.log(1.25), "energy per request +25.0%"),
        ("quality", -0.01, "quality of answers -1.0 points"),
        ("feedback", 0.01, "users' score +1.0 points"),
    ],
)
def test_every_measure_is_told_in_its_own_units(outcome: str, difference: float, told: str) -> None:
    plan = Plan(outcome=outcome, max_pairs=8)
    text = at_budget_end(_experiment([difference] * 8, plan), "over").reason
    assert told in text
    assert "at least" in text or "at most" in text


def test_bounds_follow_what_the_value_itself_does() -> None:
    text = at_budget_end(_experiment([math.log(2)] * 9, Plan(outcome="e2el")), "over").reason
    least, most = (
        float(text.split(f"{word} ")[1].split("%")[0]) for word in ("at least", "at most")
    )
    assert least < -50 < most < 0


def test_a_strict_level_is_told_with_its_digits() -> None:
    plan = Plan(alpha=0.0005, max_pairs=30)
    assert "each bound at 99.95%" in at_budget_end(_experiment([0.3] * 30, plan), "over").reason


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
