"""The report as data: it goes through JSON unharmed, whatever the experiment is like."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from autotuner.domain.experiment import Experiment
from autotuner.report.data import report_data
from tests.unit.report.report_examples import BEGAN, EXAMPLES, accepted, running, without_pairs

KEYS = {
    "format", "id", "target", "phase", "running", "aa", "confirms", "proposer", "rationale",
    "started_at", "ended_at", "duration_s", "control", "treatment", "changed", "plan", "outcome",
    "verdict", "words", "cost", "slots", "pairs", "looks", "guardrails", "excluded", "power",
    "explanation",
}  # fmt: skip


@pytest.mark.parametrize("build", EXAMPLES.values(), ids=EXAMPLES)
def test_it_survives_json(build: Callable[[], Experiment]) -> None:
    test = build()
    data = report_data(test, None if test.running else BEGAN + 900)
    assert set(data) == KEYS
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert len(data["slots"]) == len(test.slots)
    assert len(data["pairs"]) == len(data["looks"]) == len(test.pairs)


def test_figures_are_the_experiments() -> None:
    test = accepted()
    data = report_data(test, BEGAN + 900)
    assert data["duration_s"] == 900
    assert data["changed"] == {"max_num_seqs": [8, 16]}
    assert data["verdict"]["verdict"] == "ACCEPTED"
    assert data["looks"][-1]["confidence"] == test.looks[-1].confidence
    assert data["pairs"][0]["adjusted"] == test.pairs[0].adjusted
    assert data["slots"][5]["excluded"] == "too few requests (3, at least 10 are needed)"
    assert data["excluded"] == [
        {"reason": data["slots"][5]["excluded"], "slots": [5], "mates": [4]}
    ]
    assert data["guardrails"][0]["standing"] == "kept"
    cost = data["cost"]["treatment"]
    assert cost["suffered"] == cost["requests"] - cost["good"]


def test_what_is_not_known_is_null() -> None:
    data = report_data(without_pairs(), None)
    assert data["verdict"] is None
    assert data["plan"]["price_per_hour"] is None
    assert data["plan"]["limits"]["max_temperature_c"] is None
    assert data["cost"]["extra_suffering"] is None
    assert data["guardrails"][0]["effect"] is None
    open_slot = report_data(running(), None)["slots"][-1]
    assert (open_slot["outcome"], open_slot["value"], open_slot["ended_at"]) == (None, None, None)


def test_the_first_test_is_named_by_a_confirm_run() -> None:
    test = accepted()
    again = replace(test, plan=replace(test.plan, confirms="exp-1"))
    assert report_data(test, None)["confirms"] is None
    assert report_data(again, None)["confirms"] == "exp-1"
