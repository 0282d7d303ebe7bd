"""What a device holds under a layout, and what fits where."""

from __future__ import annotations

import pytest

from autotuner.planner.memory import (
    Layout,
    Storage,
    activations_on,
    kv_per_token_on,
    memory_of,
    weights_on,
)
from autotuner.planner.planning import fit_of
from autotuner.planner.precision import Precision, weight_bytes
from tests.unit.planner.support import device, model

QWEN, V3 = model("DeepSeek-R1-Distill-Qwen-32B"), model("DeepSeek-V3")
FP16, FP8 = Storage(Precision.FP16), Storage(Precision.FP8)


def test_one_device_holds_the_whole_model() -> None:
    for precision in Precision:
        whole = weight_bytes(QWEN.parameters, precision)
        assert weights_on(QWEN, precision, Layout()) == pytest.approx(whole)


def test_tensor_ranks_split_all_but_norms_and_stages_split_layers() -> None:
    whole = weights_on(QWEN, Precision.FP16, Layout())
    assert weights_on(QWEN, Precision.FP16, Layout(tensor=4)) == pytest.approx(whole / 4, rel=1e-3)
    stage = weights_on(QWEN, Precision.FP16, Layout(pipeline=2))
    layers = whole - 2 * 2 * QWEN.parameters.embeddings
    assert stage == pytest.approx(layers / 2 + 2 * QWEN.parameters.embeddings, rel=1e-3)


def test_data_ranks_split_the_routed_experts_alone() -> None:
    one, eight = (weights_on(V3, Precision.FP8, Layout(data=n)) for n in (1, 8))
    routed = V3.parameters.routed_experts * (1 + 4 / 128**2)
    assert one - eight == pytest.approx(routed * 7 / 8)


def test_heads_are_split_but_a_latent_is_held_by_every_rank() -> None:
    assert kv_per_token_on(QWEN, 2.0, Layout()) == 262_144
    assert kv_per_token_on(QWEN, 2.0, Layout(tensor=8)) == 262_144 / 8
    assert kv_per_token_on(QWEN, 2.0, Layout(tensor=16)) == 262_144 / 8  # 8 heads of keys
    assert kv_per_token_on(V3, 2.0, Layout(tensor=8)) == 70_272
    assert memory_of(V3, device("H200"), FP8, Layout(data=16)).kv_tokens > (
        10 * memory_of(V3, device("H200"), FP8, Layout(tensor=8)).kv_tokens
    )


def test_the_room_for_kv_is_the_share_less_what_stands_there() -> None:
    memory = memory_of(QWEN, device("A100-80GB"), FP16, Layout())
    stands = memory.weights + memory.activations + memory.overhead
    assert memory.kv_room == pytest.approx(0.9 * 80e9 - stands)
    assert memory.kv_tokens == int(memory.kv_room / 262_144)
    assert memory.fits(memory.kv_tokens)
    assert not memory.fits(memory.kv_tokens + 1)


def test_activations_by_hand() -> None:
    storage = Storage(Precision.FP16, batched_tokens=1000, sequences=10)
    by_hand = 1000 * 2 * (2 * 5120 + 3 * 27_648) + 10 * 152_064 * 4
    assert activations_on(QWEN, storage, Layout()) == by_hand


@pytest.mark.parametrize(
    ("name", "found", "storage", "devices"),
    [
        ("A100-80GB", QWEN, FP16, 1),
        ("A100-40GB", QWEN, FP16, 2),
        ("RTX4090", QWEN, FP16, 4),
        ("L40S", QWEN, Storage(Precision.INT4), 1),
        ("H200", V3, FP8, 8),
        ("H100", V3, FP8, 16),
    ],
)
def test_the_fewest_devices_that_hold_it(
    name: str, found: object, storage: Storage, devices: int
) -> None:
    assert found in (QWEN, V3)
    fit = fit_of(name, QWEN if found is QWEN else V3, device(name), storage, 4096)
    assert fit is not None
    assert (fit.fits, fit.layout.devices) == (True, devices)


def test_what_fits_nowhere_is_said_with_the_nearest() -> None:
    fit = fit_of("one", QWEN, device("RTX4090", link_gb_per_s=None), FP16, 4096)
    assert fit is not None
    assert not fit.fits
    assert fit.memory.kv_tokens == 0
    assert fit_of("one", QWEN, device("L4", tflops={"int8": 1.0}), FP16, 1) is None
