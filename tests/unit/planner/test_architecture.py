"""Parameters, KV and arithmetic equal the hand calculations of docs/planner.md within 2%."""

from __future__ import annotations

import pytest

from autotuner.planner.precision import Precision, kv_number_bytes, weight_bytes
from tests.unit.planner.support import model

WITHIN = 0.02


@pytest.mark.parametrize(
    ("name", "total", "active", "kv_numbers"),
    [
        ("DeepSeek-R1-Distill-Qwen-32B", 32.76e9, 31.99e9, 131_072),
        ("DeepSeek-V3", 671.0e9, 36.6e9, 35_136),
        ("SmolLM2-135M", 134.5e6, 134.5e6, 11_520),
    ],
)
def test_the_counts_of_the_docs(name: str, total: float, active: float, kv_numbers: int) -> None:
    found = model(name)
    assert found.parameters.total == pytest.approx(total, rel=WITHIN)
    assert found.active_parameters == pytest.approx(active, rel=WITHIN)
    assert found.kv_numbers_per_token == kv_numbers


@pytest.mark.parametrize(
    ("name", "total"),
    [("Qwen2.5-7B", 7.6156e9), ("Llama-3.1-8B", 8.0303e9), ("Llama-3.1-70B", 70.5537e9)],
)
def test_counts_that_the_makers_publish(name: str, total: float) -> None:
    assert model(name).parameters.total == pytest.approx(total, rel=1e-4)


def test_a_32b_model_at_fp16_needs_about_64_gb() -> None:
    parameters = model("DeepSeek-R1-Distill-Qwen-32B").parameters
    assert weight_bytes(parameters, Precision.FP16) == pytest.approx(65.5e9, rel=WITHIN)
    assert weight_bytes(parameters, Precision.FP16) == pytest.approx(64e9, rel=0.03)


def test_deepseek_v3s_parts() -> None:
    parts = model("DeepSeek-V3").parameters
    assert parts.attention == pytest.approx(11.41e9, rel=WITHIN)
    assert parts.dense_mlp == pytest.approx(1.189e9, rel=WITHIN)
    assert parts.routed_experts == pytest.approx(653.9e9, rel=WITHIN)
    assert parts.shared_experts == pytest.approx(2.554e9, rel=WITHIN)
    assert parts.embeddings == parts.head == 129_280 * 7168


def test_tied_embeddings_count_once_and_are_still_multiplied_by() -> None:
    smol = model("SmolLM2-135M")
    assert smol.parameters.head == 0
    assert smol.active_parameters == smol.parameters.total


def test_a_latent_is_cheaper_to_keep_and_dearer_to_attend_to() -> None:
    v3 = model("DeepSeek-V3")
    assert v3.decode_flops_per_pair == 2 * 61 * 128 * (2 * 512 + 64)
    assert v3.prompt_flops_per_pair == 2 * 61 * 128 * (128 + 64 + 128)
    smol = model("SmolLM2-135M")
    assert smol.decode_flops_per_pair == smol.prompt_flops_per_pair == 4 * 30 * 9 * 64


def test_a_larger_batch_reads_more_experts() -> None:
    v3 = model("DeepSeek-V3")
    shares = [v3.experts_read_share(batch) for batch in (1, 8, 64, 512)]
    assert shares[0] == pytest.approx(8 / 256)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0, abs=1e-4)
    assert model("SmolLM2-135M").experts_read_share(8) == 0


def test_quantised_weights_keep_embeddings_head_and_norms_in_16_bits() -> None:
    p = model("DeepSeek-R1-Distill-Qwen-32B").parameters
    plain = 2.0 * (p.total - p.quantised)
    assert weight_bytes(p, Precision.INT8) == plain + p.quantised
    assert weight_bytes(p, Precision.INT4) == pytest.approx(plain + p.quantised * 66.5 / 128)
    assert weight_bytes(p, Precision.FP32) == 4.0 * p.total


def test_kv_is_kept_in_what_is_computed_in_unless_told() -> None:
    assert kv_number_bytes(Precision.INT4) == 2
    assert kv_number_bytes(Precision.FP32) == 4
    assert kv_number_bytes(Precision.BF16, Precision.FP8) == 1
