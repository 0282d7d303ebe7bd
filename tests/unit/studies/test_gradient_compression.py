from __future__ import annotations

from typing import Any

import pytest

from experiments.studies.gradient_compression.model import STATES, make_examples
from experiments.studies.gradient_compression.runs import (
    FP16,
    HIERARCHICAL,
    ONE_BUCKET,
    PLAIN,
    POWERSGD,
    least_of_rounds,
    with_efficiency,
)
from experiments.studies.gradient_compression.study import all_runs, checks, quick_runs


def row(kind: str, nodes: int, **figures: Any) -> dict[str, Any]:
    told = {"sent_kb_per_node_and_update": 1.0, "step_s": 1.0, "held_out_loss": 1.0}
    limited = {"kind": kind, "nodes": nodes, "per_node": 1, "mbit_per_s": 100.0}
    return {**limited, **told, **figures}


def test_every_plan_can_be_and_has_its_own_folder() -> None:
    for runs in (all_runs(), quick_runs()):
        for run in runs:
            run.plan().check()
        assert len({run.name for run in runs}) == len(runs)


def test_claims_are_about_the_most_nodes() -> None:
    sent = "sent_kb_per_node_and_update"
    rows = [
        row(PLAIN, 2, **{sent: 1e9}),
        row(PLAIN, 4, **{sent: 900.0}, step_s=2.0, held_out_loss=2.0),
        row(PLAIN, 4, **{sent: 1100.0}, step_s=4.0, held_out_loss=4.0),
        row(PLAIN, 4, mbit_per_s=None, step_s=0.5),
        row(PLAIN, 2, per_node=2, **{sent: 5.0}),
        row(ONE_BUCKET, 4),
        row(FP16, 4, **{sent: 500.0}),
        row(POWERSGD, 4, **{sent: 200.0}, step_s=1.0, held_out_loss=3.3),
        row(HIERARCHICAL, 4, **{sent: 250.0}, step_s=1.5, held_out_loss=3.0),
    ]

    made = checks(rows)

    found = [item["value"] for item in made]
    assert found == pytest.approx([5.0, 4.0, 2.0, 2.0, 4 / 3, 2.0, 1.1, 1.0])
    assert [item["holds"] for item in made] == [False, *[True] * 3, False, False, True, True]


def test_a_time_is_that_of_the_fastest_round() -> None:
    seconds = [0.1, 0.1, 0.1, 9.0, 0.2, 0.2, 0.2, 0.8, 1.0, 1.0, 1.0, 1.0]

    assert least_of_rounds([{"step_s": s} for s in seconds], "step_s") == pytest.approx(0.35)


def test_an_answer_follows_from_its_prompt() -> None:
    first, again = make_examples(40, seed=3), make_examples(40, seed=3)

    assert first == again != make_examples(40, seed=4)
    states = {
        e.prompt.split(", ")[1]: next(s for s in STATES if e.answer.endswith(s)) for e in first
    }
    for example in make_examples(200, seed=5):
        lamp = example.prompt.split(", ")[1]
        assert lamp not in states or example.answer.endswith(states[lamp])


def test_efficiency_is_against_one_process_and_against_a_free_network() -> None:
    alone = row(PLAIN, 1, step_s=0.5)
    free, limited = row(PLAIN, 4, mbit_per_s=None), row(PLAIN, 4, step_s=2.0)

    found = with_efficiency([alone, free, limited, row(PLAIN, 4, per_node=2, step_s=2.0)])

    assert [item["efficiency"] for item in found] == [1.0, 0.5, 0.25, 0.25]
    assert [item["of_network"] for item in found] == [None, 1.0, 0.5, None]
    assert with_efficiency([limited])[0]["efficiency"] is None
