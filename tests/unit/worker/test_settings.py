from __future__ import annotations

import pytest

from autotuner.worker.settings import InvalidSettingError, Limits, WorkerSettings, capabilities

LIMITS = Limits(kv_slots=40, max_model_len=2048)


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
        ("max_batch", 3, "known: batch_timeout_ms, max_num_batched_tokens, max_num_seqs"),
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


def test_capabilities_tell_what_updated_takes() -> None:
    for name, told in capabilities(LIMITS).items():
        values = told["values"] if told["type"] == "choice" else [told["min"], told["max"]]
        for value in values:
            assert getattr(WorkerSettings().updated({name: value}, LIMITS), name) == value
