"""Step times follow bytes and FLOPs; the constants reproduce what was measured."""

from __future__ import annotations

import json

import pytest

from autotuner.domain.errors import ConfigError
from autotuner.planner.hardware import Device
from autotuner.planner.memory import Layout, Storage
from autotuner.planner.performance import Replica, step_s, steps_of
from autotuner.planner.precision import Precision
from autotuner.studies import ROOT
from tests.unit.planner.support import device, model

QWEN, V3, SMOL = (model(n) for n in ("DeepSeek-R1-Distill-Qwen-32B", "DeepSeek-V3", "SmolLM2-135M"))
FP16 = Storage(Precision.FP16)


def on(name: str, layout: Layout | None = None, **changes: object) -> Replica:
    return Replica(QWEN, device(name, **changes), FP16, layout or Layout())


def test_a_step_reads_all_but_the_embedding_table() -> None:
    step = steps_of(on("H100"), 1)
    read = 2 * (QWEN.parameters.total - QWEN.parameters.embeddings)
    assert step.t0_s == pytest.approx(read / (3.35e12 * 0.8) + 0.5e-3 + 64 * 20e-6)
    assert step.context_s == pytest.approx(262_144 / (3.35e12 * 0.7))
    assert step.prefill_s == pytest.approx(QWEN.prompt_flops_per_token / (989.5e12 * 0.6))


def test_twice_the_bandwidth_is_half_the_reading_and_leaves_arithmetic() -> None:
    slow, fast = (steps_of(on("H100", bandwidth_gb_per_s=width), 1) for width in (1000.0, 2000.0))
    fixed_s = 0.5e-3 + 64 * 20e-6
    assert (slow.t0_s - fixed_s) == pytest.approx(2 * (fast.t0_s - fixed_s))
    assert slow.decode_s == fast.decode_s


def test_tensor_ranks_quicken_a_step_less_than_they_are_many_and_slow_links_less_still() -> None:
    one, two = step_s(on("H100"), 16, 500), step_s(on("H100", Layout(tensor=2)), 16, 500)
    assert one / 2 < two < one
    by_bus = step_s(on("H100", Layout(tensor=2), link_gb_per_s=64.0), 16, 500)
    assert by_bus > two


def test_pipeline_stages_quicken_no_single_step() -> None:
    assert step_s(on("H100", Layout(pipeline=2)), 1, 0) > step_s(on("H100"), 1, 0) * 0.99


def test_experts_make_a_larger_batch_read_more() -> None:
    replica = Replica(V3, device("H200"), Storage(Precision.FP8), Layout(tensor=8))
    few, many = steps_of(replica, 1).t0_s, steps_of(replica, 256).t0_s
    assert many > 3 * few
    assert steps_of(on("H100"), 1) == steps_of(on("H100"), 256)


def test_a_type_that_a_device_lacks_is_named() -> None:
    replica = on("H100", tflops={"int8": 1.0})
    with pytest.raises(ConfigError, match=r"precision=fp16.*int8"):
        steps_of(replica, 1)


def test_the_cpu_constants_are_within_30_percent_of_the_study_that_they_come_from() -> None:
    """On recorded figures of another machine: no timing of this one."""
    kept = json.loads(
        (ROOT / "experiments/studies/worker_throughput/results.json").read_text("utf-8")
    )
    speed = kept["one_thread"]
    here = Device(
        kind="cpu",
        memory_gb=16,
        bandwidth_gb_per_s=speed["read_gb_per_s"],
        tflops={"bf16": speed["gemm_gflop_per_s"] / 1000},
        tdp_w=12,
        idle_w=3,
        price_per_hour=0,
        source="recorded",
    )
    replica = Replica(SMOL, here, Storage(Precision.BF16), Layout())
    rows = [
        row for row in kept["rows"]
        if row["engine"] == "own engine" and row["dtype"] == "bfloat16" and row["kind"] == "decode"
    ]  # fmt: skip
    assert len(rows) >= 5
    for row in rows:
        predicted = row["amount"] / step_s(replica, row["amount"], 140)
        assert predicted == pytest.approx(row["tokens_per_s"], rel=0.3), row["size"]
    prompt = next(r for r in kept["rows"] if r["size"] == "prefill, 1500 tokens")
    step = steps_of(replica, 1)
    took_s = 3 * step.t0_s + 1500 * step.prefill_s + step.pair_s * 1500**2 / 2
    assert 1500 / took_s == pytest.approx(prompt["tokens_per_s"], rel=0.3)
