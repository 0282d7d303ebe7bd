"""The proxy's study: its streams, and what it claims of what it measured."""

from __future__ import annotations

import json
from typing import Any

import pytest

from experiments.studies.proxy_overhead.chunks import most_carried
from experiments.studies.proxy_overhead.client import Answer
from experiments.studies.proxy_overhead.latency import Load, Pair, row
from experiments.studies.proxy_overhead.source import events
from experiments.studies.proxy_overhead.study import checks


def answer(first_s: float, whole_s: float, fault: str = "") -> Answer:
    return Answer(first_s, whole_s, 3, 3, fault)


def measured(**changes: Any) -> list[dict[str, Any]]:
    pairs = [Pair(answer(0.001, 0.040), answer(0.0015, 0.0408))] * 3
    steps = [
        {"part": "chunks", "delivered_per_s": 1990.0, "carried": 1.0, "faults": 0},
        {"part": "chunks", "delivered_per_s": 2900.0, "carried": 0.9, "faults": 0},
    ]
    changed = [{"part": part, "faults": 0} for part in ("reload", "restart")]
    rows = [row(Load("low rate", 0, 1, 0.0, 3), pairs, []), *steps, *changed]
    for one in rows:
        one.update(changes.get(one["part"], {}))
    return rows


def held(rows: list[dict[str, Any]]) -> dict[str, bool]:
    return {check["name"]: check["holds"] for check in checks(rows)}


def test_every_event_is_one_of_its_kind_and_readable() -> None:
    told = [*events(1, 3), *events(2, 3)]
    assert len(set(told)) == len(told) - 1  # the end alone is the same
    assert told[4] == b"data: [DONE]\n\n"
    parsed = [json.loads(event[6:]) for event in told[:4]]
    assert [bool(one["choices"]) for one in parsed] == [True, True, True, False]
    assert parsed[2]["choices"][0]["finish_reason"] == "length"
    assert parsed[3]["usage"]["completion_tokens"] == 3


def test_what_is_added_is_the_difference_of_a_pair_and_faulty_pairs_count_as_lost() -> None:
    good = Pair(answer(0.001, 0.04), answer(0.0015, 0.042))
    bad = Pair(answer(0.001, 0.04), answer(0.9, 0.9, "cut"))
    found = row(Load("x", 64, 1, 0.0, 2), [good, bad], [answer(1, 1, "cut")])
    assert found["pairs"] == 1
    assert found["faults"] == 2
    assert found["first_added_ms_p50"] == pytest.approx(0.5)
    assert found["whole_added_ms_p99"] == pytest.approx(2.0)


def test_only_a_rate_that_was_kept_up_with_counts() -> None:
    assert most_carried([r for r in measured() if r["part"] == "chunks"]) == 1990.0
    assert most_carried([]) == 0.0


def test_each_claim_can_fail() -> None:
    assert held(measured())["added to the first token, low rate, P50"]
    assert not held(measured())["chunks through one core"]
    assert held(measured(chunks={"delivered_per_s": 2000.0}))["chunks through one core"]
    slow = measured(latency={"whole_added_ms_p50": 1.1})
    assert not held(slow)["added to a request, low rate, P50"]
    for part, name in (
        ("chunks", "answers lost or changed"),
        ("reload", "answers lost over reloads"),
        ("restart", "answers lost over restarts"),
    ):
        assert held(measured())[name]
        assert not held(measured(**{part: {"faults": 1}}))[name]
