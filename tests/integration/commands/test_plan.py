"""`autotuner plan`: tables, JSON, a figure, and one sentence for a user's mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.domain.errors import ConfigError

MODEL = "DeepSeek-R1-Distill-Qwen-32B"
ONE = {
    "memory_gb": 64, "bandwidth_gb_per_s": 100, "tflops": {"bf16": 10}, "tdp_w": 100,
    "idle_w": 10, "price_per_hour": 0.1, "source": "ours",
}  # fmt: skip


def plan(*words: str) -> Result:
    return CliRunner().invoke(app, ["plan", *words], env={"COLUMNS": "200"})


def told(*words: str) -> Any:
    result = plan(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_memory_alone_says_the_weights_and_what_holds_them() -> None:
    result = plan(MODEL, "--precision", "fp16")
    assert result.exit_code == 0, result.output
    assert "32.76B parameters; at fp16 its weights need 65.5 GB on one device" in result.stdout
    assert "serves the traffic" not in result.stdout
    found = told(MODEL, "--precision", "fp16")
    assert found["plans"] == []
    assert {fit["device"]: fit["devices"] for fit in found["fits"]}["A100-40GB"] == 2


def test_traffic_gives_plans_by_the_goal_and_a_figure(tmp_path: Path) -> None:
    picture = tmp_path / "plan.png"
    words = (MODEL, "--gpu", "h200", "--gpu", "a100-80gb", "--rate", "2", "--goal", "energy")
    found = told(*words, "--figure", str(picture))
    energies = [one["costs"]["kwh_per_million_tokens"] for one in found["plans"]]
    assert len(energies) == 2
    assert energies == sorted(energies)
    assert all(one["expected"]["attainment"] >= 0.95 for one in found["plans"])
    assert all(one["played"]["attainment"] >= 0.95 for one in found["plans"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = plan(*words).stdout
    assert "best by energy first" in shown
    assert "prices in the shipped table are examples" in shown


def test_a_trace_and_precisions_side_by_side(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    rows = [{"timestamp": 500 * k, "input_length": 400, "output_length": 50} for k in range(400)]
    trace.write_text("\n".join(json.dumps(row) for row in rows))
    precisions = ("--precision", "bf16", "--precision", "int4")
    found = told("Qwen2.5-7B", "--gpu", "L4", *precisions, "--trace", str(trace))
    assert {one["precision"] for one in found["fits"]} == {"bf16", "int4"}
    assert found["plans"]


def test_a_table_of_ones_own_and_traffic_that_nothing_serves(tmp_path: Path) -> None:
    table = tmp_path / "mine.yaml"
    table.write_text(yaml.safe_dump({"devices": {"mine": ONE}}))
    words = ("Qwen2.5-7B", "--hardware", str(table))
    assert [fit["device"] for fit in told(*words)["fits"]] == ["mine"]
    result = plan(*words, "--rate", "1", "--gap", "0.01")
    assert "nothing serves the traffic within its SLO" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "model='nothing'"),
        ((MODEL, "--gpu", "H999"), "gpu='H999'"),
        ((MODEL, "--precision", "int3"), "precision='int3'"),
        ((MODEL, "--goal", "fun"), "goal='fun'"),
        ((MODEL, "--rate", "0"), "rate=0"),
        ((MODEL, "--rate", "1", "--ttft", "-1"), "ttft=-1"),
        ((MODEL, "--hardware", "nowhere.yaml"), "hardware='nowhere.yaml'"),
        ((MODEL, "--figure", "/nowhere/at/all.png"), "figure='/nowhere/at/all.png'"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], said: str) -> None:
    result = plan(*words)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)


@pytest.mark.process
def test_this_machine_is_measured_with_the_workers_kernels() -> None:
    """That it measures something; how fast the machine is decides nothing."""
    [fit] = told("SmolLM2-135M", "--hardware", "this")["fits"]
    assert fit["device"] == "this"
    assert fit["precision"] in ("bf16", "fp32")
    assert "measured here" in fit["source"]
