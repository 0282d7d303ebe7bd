"""The verdict in plain words, for every kind of experiment."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.abtest.wording import percent
from autotuner.domain.experiment import Verdict
from autotuner.domain.measures import measure
from autotuner.report.words import bounds_text, words
from tests.unit.report.report_examples import (
    BEGAN,
    Service,
    aa,
    accepted,
    all_excluded,
    drawn,
    ended,
    harmful,
    running,
    split,
    without_pairs,
)

UNBOUND = "How large the gain is, nobody can say yet: neither bound is known."


def test_an_accepted_test_says_what_rose_and_how_sure() -> None:
    test = accepted()
    told, look = words(test, BEGAN + 1000), test.looks[-1]
    assert told.headline == "The treatment is better"
    assert "max_num_seqs 8 → 16" in told.tried
    assert "Proposed by ppo: queue is long" in told.tried
    assert told.happened.startswith(f"Attainment rose by {100 * look.effect:.1f} points under")
    assert "2 slots did not count: too few requests" in told.happened
    assert f"Confidence that it is better: {percent(look.confidence)}; 95% is needed" in told.sure
    assert "at least +" in told.sure
    assert told.guarded.startswith("Guardrails kept: share of errors")
    assert told.cost.startswith(f"It took 17 min and {len(test.slots)} slots")
    assert "fewer than at that share" in told.cost


def test_a_harmful_test_says_what_it_cost() -> None:
    told = words(harmful(), BEGAN + 1000)
    assert told.headline == "The treatment is harmful: the control is back"
    assert "Attainment fell by" in told.happened
    assert "Confidence that it is worse: 9" in told.sure
    assert "at most −" in told.sure
    assert "under the treatment suffered" in told.cost
    assert "requests more than at that share" in told.cost


def test_harm_to_a_guardrail_alone_names_it() -> None:
    test = drawn(12, Service(0.8), Service(0.8, gap_s=0.2))
    told = words(ended(test, Verdict.HARMFUL, "guardrail"), BEGAN + 1000)
    claim = "P95 of the largest gap got worse by 25% or more"
    assert told.sure.startswith(f"Confidence that {claim}: ")
    assert "broken: P95 of the largest gap" in told.guarded


def test_a_hard_limit_is_no_statistic() -> None:
    test = drawn(0, Service(0.9), Service(0.9))
    told = words(ended(test, Verdict.HARMFUL, "hard limit: errors"), BEGAN + 60)
    assert told.sure.startswith("A hard limit ended the test at once")


def test_a_running_test_claims_nothing() -> None:
    told = words(running(), None)
    assert told.headline == "Still running: 4 pairs counted"
    assert told.cost.startswith("So far ")
    assert told.reason == ""


def test_without_a_pair_nothing_is_known() -> None:
    told = words(without_pairs(), None)
    assert told.happened == "No pair has been counted, so nothing is known of the effect."
    assert "none" in told.sure
    assert told.guarded.startswith("Guardrails not measured:")
    assert told.cost.endswith("No request under the treatment has been judged.")


def test_all_excluded_says_why() -> None:
    told = words(all_excluded(), BEGAN + 500)
    assert told.headline == "Not decided: the control stays"
    assert "6 slots did not count: too few requests (0, at least 10 are needed)." in told.happened


def test_a_split_says_so_and_tells_a_ratio() -> None:
    told = words(split(), BEGAN + 900)
    assert "two lanes" in told.tried
    assert told.happened.startswith("P95 of the largest gap fell by ")


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [
        (Verdict.INCONCLUSIVE, "A/A test: no difference was claimed, as it should be"),
        (Verdict.REJECTED, "A/A test: no difference was claimed, as it should be"),
        (Verdict.ACCEPTED, "A/A test called ACCEPTED, though both arms were the same"),
        (Verdict.HARMFUL, "A/A test called HARMFUL, though both arms were the same"),
        (Verdict.ABORTED, "A/A test that says nothing"),
    ],
)
def test_an_aa_is_read_the_other_way_round(verdict: Verdict, headline: str) -> None:
    test = ended(replace(aa(), conclusion=None, phase=running().phase), verdict, "why")
    told = words(test, BEGAN + 4000)
    assert told.headline == headline
    assert "the same settings under both arms (A/A)" in told.tried


def test_a_confirm_run_names_what_it_repeats() -> None:
    test = drawn(1, Service(0.7), Service(0.7))
    test = replace(test, plan=replace(test.plan, confirms="exp-000100", guardrails=()))
    told = words(test, None)
    assert "It repeats exp-000100 before the candidate is kept." in told.tried
    assert told.guarded == "No guardrail was asked for; only the hard limits stood guard."


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-1.0, 1.0, UNBOUND),
        (-1.0, 0.2, "The gain is at most +20.0 points: this bound holds with 95%."),
        (math.nan, math.nan, UNBOUND),
        (
            0.1, 0.2,
            "The gain is at least +10.0 points and at most +20.0 points: each of them holds "
            "with 95%.",
        ),
    ],
)  # fmt: skip
def test_bounds_are_told_where_they_are_known(low: float, high: float, text: str) -> None:
    assert bounds_text(measure("attainment"), low, high, "95%") == text
