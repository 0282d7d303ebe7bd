"""What the proxy's settings take, and how a refusal reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotuner.fronts.admin import NotChangedError
from autotuner.proxy.knobs import capabilities, updated
from autotuner.proxy.ports import EngineKnob, Value

ENGINE = {
    "max_num_seqs": EngineKnob("max_num_seqs", "int", 1, 1024),
    "share": EngineKnob("share", "float", 0.5, 0.95),
    "policy": EngineKnob("policy", "choice", values=("fcfs", 8)),
    "chunked": EngineKnob("chunked", "bool", changes_answers=True),
}
SETTINGS: dict[str, Value] = {
    "max_num_seqs": 256, "share": 0.9, "policy": "fcfs", "chunked": True,
    "max_concurrency": 4096, "max_queue": 256,
}  # fmt: skip


def test_capabilities_tell_all() -> None:
    told = capabilities(ENGINE)
    assert told["share"] == {
        "type": "float", "min": 0.5, "max": 0.95, "live": False, "changes_answers": False,
    }  # fmt: skip
    assert told["policy"]["values"] == ["fcfs", 8]
    assert (told["chunked"]["type"], told["chunked"]["changes_answers"]) == ("bool", True)
    assert (told["max_queue"]["live"], told["max_queue"]["min"]) == (True, 0)
    assert type(told["max_num_seqs"]["max"]) is int
    json.dumps(told)


def test_what_is_not_named_stays() -> None:
    now = updated(SETTINGS, {"share": 0.8, "policy": 8}, ENGINE)
    assert now == {**SETTINGS, "share": 0.8, "policy": 8}
    whole = updated(SETTINGS, {"share": 0.5}, ENGINE)["share"]
    assert type(whole) is float


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_num_seqs", 0), ("max_num_seqs", 1.5), ("max_num_seqs", True), ("max_num_seqs", "8"),
        ("share", 0.96), ("share", float("nan")), ("share", None), ("policy", "lpm"),
        ("policy", True), ("chunked", 1), ("nothing", 3), ("max_concurrency", 0),
        ("max_queue", 65537), ("max_num_seqs", [1]), ("max_num_seqs", 10**400),
    ],
)  # fmt: skip
def test_a_refusal_names_the_knob_and_the_fix(name: str, value: Any) -> None:
    with pytest.raises(NotChangedError, match=name) as caught:
        updated(SETTINGS, {name: value}, ENGINE)
    assert caught.value.status == 422
    assert (caught.value.error["type"], caught.value.error["field"]) == ("invalid_setting", name)
    json.dumps(caught.value.error, allow_nan=False)
