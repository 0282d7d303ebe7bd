from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from autotuner.worker.settings import (
    REBUILD_KNOBS,
    InvalidSettingError,
    Limits,
    WorkerSettings,
    capabilities,
)

LIMITS = Limits(
    max_num_seqs=40,
    max_model_len=2048,
    max_tensor_parallel=3,
    max_pipeline_parallel=30,
    max_ranks=4,
    max_threads=8,
)


ADAPTED = replace(LIMITS, weights=("base", "v1"), refused_weights={"v2": "v2/file: r=0: give 1"})


def test_changes_make_new_settings_and_leave_the_old() -> None:
    old = WorkerSettings()
    new = old.updated({"max_num_seqs": 40, "schedule_policy": "length-grouped"}, LIMITS)
    assert (new.max_num_seqs, new.schedule_policy) == (40, "length-grouped")
    assert old == WorkerSettings()


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        ("max_num_seqs", 0, "1 to 40"),
        ("max_num_seqs", 41, "1 to 40"),
        ("max_num_seqs", True, "whole number"),
        ("max_num_seqs", 8.0, "whole number"),
        ("max_num_seqs", "8", "whole number"),
        ("max_num_seqs", None, "whole number"),
        ("batch_timeout_ms", -1, "0 to 100"),
        ("batch_timeout_ms", 101, "0 to 100"),
        ("max_num_batched_tokens", 15, "16 to 8192"),
        ("max_num_batched_tokens", 8193, "16 to 8192"),
        ("schedule_policy", "lifo", "fcfs, length-grouped"),
        ("schedule_policy", ["fcfs"], "fcfs, length-grouped"),
        ("max_batch", 3, "known: attention, batch_sizes, batch_timeout_ms"),
        ("memory_efficient", 1, "true or false"),
        ("attention", "sparse", "full, sliding_window, top_k"),
        ("weight_dtype", "int4", "float32, bfloat16, int8"),
        ("tensor_parallel_size", 4, "1 to 3"),
        ("pipeline_parallel_size", 5, "1 to 4"),
        ("num_threads", 9, "1 to 8"),
    ],
)
def test_a_bad_value_names_the_knob_the_value_and_the_fix(
    field: str, value: object, fix: str
) -> None:
    with pytest.raises(InvalidSettingError) as caught:
        WorkerSettings().updated({"batch_timeout_ms": 5, field: value}, LIMITS)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert f"{field}={value!r}" in str(caught.value)
    assert fix in str(caught.value)


def taken_by(told: dict[str, Any]) -> list[Any]:
    if told["type"] == "bool":
        return [True, False]
    values: list[Any] = told.get("values") or [told["min"], told["max"]]
    return values


def test_capabilities_tell_what_updated_takes() -> None:
    for name, told in capabilities(LIMITS).items():
        for value in taken_by(told):
            assert getattr(WorkerSettings().updated({name: value}, LIMITS), name) == value


def test_every_knob_has_its_capability() -> None:
    told = capabilities(ADAPTED)
    assert set(told) == {field.name for field in fields(WorkerSettings)}
    rebuilt = {name for name, knob in told.items() if not knob["live"]}
    assert rebuilt == set(REBUILD_KNOBS)
    assert told["attention"]["changes_answers"]
    assert not told["max_num_seqs"]["changes_answers"]


def test_weights_are_a_knob_of_a_worker_with_adapters() -> None:
    now = WorkerSettings()
    assert "weights" not in now.told(LIMITS)
    assert set(now.told(LIMITS)) == set(capabilities(LIMITS))
    assert now.told(ADAPTED)["weights"] == "base"
    assert capabilities(ADAPTED)["weights"] == {
        "type": "choice",
        "values": ["base", "v1"],
        "live": False,
        "changes_answers": True,
    }
    adapted = now.updated({"weights": "v1"}, ADAPTED)
    assert adapted.weights == "v1"
    assert now.needs_rebuild(adapted)


@pytest.mark.parametrize(
    ("limits", "value", "fix"),
    [
        (LIMITS, "base", "start it with --adapters"),
        (ADAPTED, "v3", "give one of base, v1"),
        (ADAPTED, "v2", "v2/file: r=0: give 1"),
        (ADAPTED, ["v1"], "give one of base, v1"),
    ],
)
def test_weights_that_there_are_not_are_refused_with_the_reason(
    limits: Limits, value: object, fix: str
) -> None:
    with pytest.raises(InvalidSettingError) as caught:
        WorkerSettings().updated({"weights": value}, limits)
    assert caught.value.field == "weights"
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"tensor_parallel_size": 3, "data_parallel_size": 2},
        {"pipeline_parallel_size": 2, "num_threads": 5},
    ],
)
def test_sizes_that_are_too_many_together_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidSettingError, match="lower one of them"):
        WorkerSettings().updated(changes, LIMITS)


def test_only_rebuild_knobs_need_a_rebuild() -> None:
    now = WorkerSettings()
    assert not now.needs_rebuild(replace(now, max_num_seqs=1, attention="top_k"))
    assert now.needs_rebuild(replace(now, weight_dtype="int8"))
