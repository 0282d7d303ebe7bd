"""What the planner lets the agent believe of an engine that has not told its steps."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autotuner.agent.view import view_of
from autotuner.domain.errors import ConfigError
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import ProposalContext, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import StepRecord
from autotuner.planner.memory import Layout, Storage, memory_of
from autotuner.planner.prior import expected
from tests.unit.planner.support import TABLES, device, model

SETTINGS = Settings({"max_num_seqs": 64, "max_num_batched_tokens": 2048})
SPACE = KnobSpace((Knob("max_num_seqs", (16, 64)), Knob("max_num_batched_tokens", (512, 2048))))


def context(steps: tuple[StepRecord, ...] = (), kv_tokens: float = math.inf) -> ProposalContext:
    workload = Workload(2.0, (400,) * 50, (100,) * 50)
    return ProposalContext(
        SPACE, SETTINGS, SLO(1.5), workload, None, 0.8, steps=steps, kv_tokens=kv_tokens
    )


def test_the_slower_hardware_is_believed_to_be_slower() -> None:
    fast, slow = (expected("Llama-3.1-8B", name)(SETTINGS).model for name in ("H100", "l4"))
    # A decode step reads all weights: at least 16 GB over the bandwidth.
    assert 16.0 / 3350 < fast.t0_s < 3 * 16.0 / 3350
    assert slow.t0_s == pytest.approx(fast.t0_s * 3350 / 300, rel=0.35)
    assert slow.prefill_s > 5 * fast.prefill_s


def test_memory_is_that_of_the_plan_under_the_servers_own_names() -> None:
    told = Settings({"tp_size": 2, "max_running_requests": 64, "mem_fraction_static": 0.8})
    storage = Storage(sequences=64, memory_share=0.8)
    held = memory_of(model("Llama-3.1-70B"), device("H200"), storage, Layout(2))
    assert expected("Llama-3.1-70B", "H200")(told).kv_tokens == held.kv_tokens > 0


def test_a_model_that_would_not_fit_says_nothing_of_memory() -> None:
    assert math.isinf(expected("Llama-3.1-70B", "L4")(SETTINGS).kv_tokens)


def test_a_target_without_a_step_log_is_seen_through_the_prior() -> None:
    known = expected("Llama-3.1-8B", "H100")
    seen = view_of(context(), known)
    assert seen is not None
    assert not seen.calibration.fitted
    assert seen.calibration.model == known(SETTINGS).model
    assert seen.system.machines.kv_tokens.tolist() == [known(SETTINGS).kv_tokens]


def test_what_the_target_tells_overrules_the_prior() -> None:
    steps = tuple(
        StepRecord(float(n), 0.1 + 0.01 * (n % 8), n % 8, prefill_tokens=0, context_tokens=0)
        for n in range(400)
    )
    seen = view_of(context(steps, kv_tokens=5000.0), expected("Llama-3.1-8B", "H100"))
    assert seen is not None
    assert seen.calibration.fitted
    assert seen.calibration.model.t0_s == pytest.approx(0.1, rel=0.1)
    assert seen.system.machines.kv_tokens.tolist() == [5000.0]


def test_bad_names_are_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'H999'"):
        expected("Llama-3.1-8B", "H999")
    with pytest.raises(ConfigError, match="Llama-9"):
        expected("Llama-9", "H100")
    with pytest.raises(ConfigError, match="precision='fp8': A10 lists no type"):
        expected("Llama-3.1-8B", "A10", "fp8", _without_bf16(tmp_path))


def _without_bf16(folder: Path) -> Path:
    """A table with a device that computes in float32 alone."""
    rows = (TABLES / "hardware.yaml").read_text().splitlines()
    a10 = next(row for row in rows if row.strip().startswith("A10:"))
    path = folder / "own.yaml"
    path.write_text("devices:\n" + a10.replace("bf16: 125, int8: 250", "int8: 250") + "\n")
    return path
