from __future__ import annotations

from autotuner.domain.goals import devices_of
from autotuner.domain.knob_names import UNCUT_TOKENS, Value, common_name, in_common_names


def test_sglangs_knobs_are_vllms_by_another_name() -> None:
    said: dict[str, Value] = {
        "max_running_requests": 64,
        "chunked_prefill_size": 4096,
        "tp_size": 2,
        "other": "x",
    }
    assert in_common_names(said) == {
        "max_num_seqs": 64, "max_num_batched_tokens": 4096, "tensor_parallel_size": 2, "other": "x",
    }  # fmt: skip
    assert common_name("schedule_policy") == "schedule_policy"


def test_the_least_of_all_caps_is_what_runs() -> None:
    assert in_common_names({"max_num_seqs": 64, "max_concurrency": 4096}) == {"max_num_seqs": 64}
    assert in_common_names({"max_running_requests": 64, "max_concurrency": 16}) == {
        "max_num_seqs": 16
    }
    assert in_common_names({"max_num_active_seqs": 8, "max_concurrency": 16}) == {"max_num_seqs": 8}


def test_no_chunking_is_a_chunk_longer_than_any_prompt() -> None:
    assert in_common_names({"chunked_prefill_size": -1}) == {"max_num_batched_tokens": UNCUT_TOKENS}


def test_devices_are_counted_under_any_servers_names() -> None:
    assert devices_of({"tp_size": 4, "pp_size": 2}) == 8
    assert devices_of({"tensor_parallel_size": 2, "data_parallel_size": 3}) == 6
