"""Settings to command-line words and back, for both servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.proxy.engines.flags import Flag, read_words, told, without, words_of
from autotuner.proxy.engines.kinds.base import choice
from autotuner.proxy.engines.kinds.sglang import SGLANG
from autotuner.proxy.engines.kinds.vllm import VLLM
from autotuner.proxy.engines.knobs import check_value, flags_with
from autotuner.proxy.ports import EngineKnob, Value


def _values(flag: Flag) -> st.SearchStrategy[Value]:
    knob = flag.knob
    if knob.kind == "bool":
        # What has no word to switch it off is off by its absence: nothing to read back.
        return st.booleans() if flag.negation else st.just(value=True)
    if knob.kind == "choice":
        return st.sampled_from([v for v in knob.values if v != "none"] or ["x"])
    assert knob.least is not None
    assert knob.greatest is not None
    if knob.kind == "int":
        return st.integers(int(knob.least), int(knob.greatest))
    return st.floats(knob.least, knob.greatest, allow_nan=False)


@pytest.mark.parametrize("kind", [VLLM, SGLANG], ids=lambda kind: kind.name)
@given(data=st.data())
def test_what_is_written_is_read_back(kind: Any, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(kind.flags)), unique=True, max_size=6))
    settings = {name: data.draw(_values(kind.flags[name])) for name in names}
    words = words_of(settings, kind.flags)
    assert read_words(words, kind.flags) == settings
    assert without(["serve", *words, "MODEL"], kind.flags) == ["serve", "MODEL"]


def test_vllm_writes_a_bool_either_way_and_sglang_leaves_it_out() -> None:
    assert words_of({"enable_prefix_caching": False}, VLLM.flags) == ("--no-enable-prefix-caching",)
    assert words_of({"enable_mixed_chunk": True}, SGLANG.flags) == ("--enable-mixed-chunk",)
    assert words_of({"enable_mixed_chunk": False}, SGLANG.flags) == ()


def test_none_leaves_a_flag_out() -> None:
    assert words_of({"quantization": "none"}, VLLM.flags) == ()
    assert words_of({"quantization": "fp8"}, VLLM.flags) == ("--quantization", "fp8")


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("--max-num-seqs=64", {"max_num_seqs": 64}),
        ("--max_num_seqs 64", {"max_num_seqs": 64}),
        ("--max-num-seqs 64 --max-num-seqs 32", {"max_num_seqs": 32}),
        ("-tp 4 -q fp8", {"tensor_parallel_size": 4, "quantization": "fp8"}),
        ("--max-model-len 16k", {"max_model_len": 16000}),
        ("--max-model-len 16K", {"max_model_len": 16384}),
        ("--enable-prefix-caching", {"enable_prefix_caching": True}),
        ("--no-enable-prefix-caching", {"enable_prefix_caching": False}),
        ("--max-num-seqs many --max-num-seqs", {}),
        ("serve MODEL --served-model-name x", {}),
    ],
)
def test_command_lines_that_people_write(words: str, settings: dict[str, Value]) -> None:
    assert read_words(words.split(), VLLM.flags) == settings


def test_vllm_tells_settings_in_nested_json_and_in_labels() -> None:
    info = {"vllm_config": {"scheduler_config": {"max_num_seqs": 128, "policy": "fcfs"}}}
    assert told(info, VLLM.flags) == {"max_num_seqs": 128, "scheduling_policy": "fcfs"}
    labels = {"cache_dtype": "auto", "enable_prefix_caching": "True", "block_size": "16",
              "gpu_memory_utilization": "0.9", "sliding_window": "None"}  # fmt: skip
    assert told(labels, VLLM.flags) == {
        "kv_cache_dtype": "auto", "enable_prefix_caching": True, "block_size": 16,
        "gpu_memory_utilization": 0.9,
    }  # fmt: skip


def test_sglang_tells_settings_under_old_and_new_names() -> None:
    old = {"chunked_prefill_size": 8192, "cuda_graph_max_bs": 160, "quantization": None,
           "internal_states": [{"chunked_prefill_size": 1}]}  # fmt: skip
    found = told(old, SGLANG.flags)
    assert found["chunked_prefill_size"] == 8192
    assert found["cuda_graph_max_bs_decode"] == found["cuda_graph_max_bs"] == 160
    assert found["quantization"] == "none"


def test_what_changes_answers_is_marked() -> None:
    for kind, names in (
        (VLLM, ("quantization", "kv_cache_dtype", "speculative_config", "dtype")),
        (SGLANG, ("quantization", "kv_cache_dtype", "speculative_algorithm", "dtype")),
    ):
        assert all(kind.flags[name].knob.changes_answers for name in names)
    assert not VLLM.flags["max_num_seqs"].knob.changes_answers


def test_json_stays_one_word() -> None:
    plan = json.dumps({"method": "ngram", "num_speculative_tokens": 4})
    flags = flags_with(VLLM, {"speculative_config": choice("speculative_config", "none", plan)})
    assert words_of({"speculative_config": plan}, flags) == ("--speculative-config", plan)


def test_a_range_of_the_operators_keeps_the_spellings() -> None:
    own = Flag(EngineKnob("max_num_seqs", "int", 8, 64), ("--max-num-seqs",))
    flags = flags_with(VLLM, {"max_num_seqs": own})
    check_value(flags["max_num_seqs"].knob, 64)
    with pytest.raises(ValueError, match=r"settings\.max_num_seqs=65: give 8 to 64"):
        check_value(flags["max_num_seqs"].knob, 65)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        (EngineKnob("a", "int", 1, 9), 2.0),
        (EngineKnob("a", "int", 1, 9), True),
        (EngineKnob("a", "int", 1, 9), 0),
        (EngineKnob("a", "float", 0, 1), "0.5"),
        (EngineKnob("a", "float", 0, 1), 1.1),
        (EngineKnob("a", "bool"), 1),
        (EngineKnob("a", "choice", values=("x",)), "y"),
        (EngineKnob("a", "choice"), "y"),
    ],
)
def test_a_value_that_is_not_one(knob: EngineKnob, value: Value) -> None:
    with pytest.raises(ValueError, match=r"settings\.a="):
        check_value(knob, value)
