"""The reason of a proposal in words, beside what the test measured."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from autotuner.domain.explanation import Explanation, NearTrial
from autotuner.report.data import report_data
from autotuner.report.page import page
from autotuner.report.reasons import figure_text, reasons
from tests.unit.report.report_examples import BEGAN, accepted, running, without_pairs

NEAR = (
    NearTrial("t-1", {"max_num_seqs": 24}, 0.05, 0.01, 0.09, "ACCEPTED", 1),
    NearTrial("t-2", {"max_num_seqs": 64}, math.nan, math.nan, math.nan, "HARMFUL", 2),
)
WHY = Explanation(
    seen={"rate_rps": 4.25, "attainment": 0.713, "horizon_s": math.inf, "past_trials": 7.0},
    effect=0.123,
    low=0.041,
    high=0.189,
    incumbent={"attainment": 0.713, "ttft_s": 1.92, "tpot_s": 0.045, "devices": 1.0},
    candidate={"attainment": 0.836, "ttft_s": 0.8, "tpot_s": 0.05, "devices": 1.0},
    nearest=NEAR,
    method="a model corrected by past experiments",
    considered=640,
    model_note="calibrated on 4,000 steps; its step times are off by 6%",
)


def test_it_says_what_was_seen_expected_and_learnt() -> None:
    said = reasons(accepted(), WHY)
    assert said.seen == "Requests a second 4.25; attainment 71.3%; past experiments 7."
    assert said.expected.startswith("Attainment: a gain of +12.3 points")
    assert "+4.1 points to +18.9 points" in said.expected
    assert "max_num_seqs=24 in t-1, 1 level away: +5.0 points (between" in said.nearest
    assert "and +9.0 points), ACCEPTED; max_num_seqs=64" in said.nearest
    assert "max_num_seqs=64 in t-2, 2 levels away: HARMFUL." in said.nearest
    assert said.chosen == (
        "By a model corrected by past experiments, out of 640 candidates that were compared."
    )
    assert said.model.endswith("off by 6%.")
    shown = dict(said.paragraphs)["Predicted, in force → candidate"]
    assert "time to first token 1.92 s → 800 ms; time per output token 45 ms → 50 ms." in shown


@pytest.mark.parametrize(
    ("low", "high", "word"), [(-0.9, 0.9, "within"), (0.8, 0.9, "below"), (-0.9, -0.8, "above")]
)
def test_what_was_measured_stands_beside_it(low: float, high: float, word: str) -> None:
    said = reasons(accepted(), replace(WHY, low=low, high=high)).expected
    assert f"{word} what was expected" in said


def test_a_test_without_pairs_or_still_running_claims_no_more() -> None:
    assert "measured nothing" in reasons(without_pairs(), WHY).expected
    assert "so far measured" in reasons(running(), WHY).expected


def test_a_saving_is_told_by_its_own_figures() -> None:
    test = accepted()
    plan = replace(test.plan, outcome="energy")
    figures = {"energy_j_per_token": 3.0}, {"energy_j_per_token": 2.4}
    said = reasons(
        replace(test, plan=plan), replace(WHY, incumbent=figures[0], candidate=figures[1])
    )
    assert said.expected.startswith("Energy per request: a gain of +20.0%.")
    by_token = replace(test, plan=replace(plan, outcome="energy_per_token"))
    why = replace(WHY, incumbent=figures[0], candidate=figures[1])
    assert "Energy per generated token: a gain of +20.0%." in reasons(by_token, why).expected
    fewer = replace(plan, outcome="devices", control_devices=4.0, treatment_devices=2.0)
    assert "+50.0%" in reasons(replace(test, plan=fewer), Explanation()).expected


def test_an_effect_on_another_measure_is_not_set_against_the_prediction() -> None:
    test = accepted()
    other = replace(test, plan=replace(test.plan, outcome="e2el"))
    assert "which is another figure" in reasons(other, WHY).expected


def test_a_proposer_that_predicts_nothing_says_how_it_chose() -> None:
    said = reasons(accepted(), Explanation(method="hill-climb", considered=8))
    assert [title for title, _ in said.paragraphs] == ["How it was chosen"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("busy", 0.5, "50.0%"),
        ("rebuild_s", 300.0, "5 min"),
        ("rate_rps", 1234.5, "1234"),
        ("ttft_s", math.nan, "unknown"),
        ("horizon_s", math.inf, "without end"),
    ],
)
def test_figures_have_their_units(name: str, value: float, text: str) -> None:
    assert figure_text(name, value) == text


def test_page_and_data_have_it() -> None:
    test = accepted()
    html = page(test, BEGAN + 900, WHY)
    assert "Why it was tried" in html
    assert "Why it was tried" not in page(test, BEGAN + 900)
    data = report_data(test, BEGAN + 900, WHY)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["explanation"]["seen"]["horizon_s"] is None
    assert data["explanation"]["nearest"][0]["changes"] == {"max_num_seqs": 24}
    assert "What was expected" in data["explanation"]["words"]
    assert report_data(test, None)["explanation"] is None
