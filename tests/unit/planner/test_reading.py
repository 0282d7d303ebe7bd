"""A config.json, a folder or a name becomes sizes; what is unknown is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotuner.domain.errors import ConfigError
from autotuner.planner.hardware import chosen, read_hardware
from autotuner.planner.precision import Precision
from autotuner.planner.reading import read_model
from tests.unit.planner.support import DEVICES, TABLES, device, model

SMALL: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 10,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def written(folder: Path, **changes: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(SMALL | changes))
    return str(path)


def test_a_folder_a_file_and_every_count_by_hand(tmp_path: Path) -> None:
    found = read_model(written(tmp_path, attention_bias=True, mlp_bias=True), TABLES)
    assert found == read_model(str(tmp_path), TABLES)
    assert (found.num_kv_heads, found.head_dim, found.name) == (4, 2, tmp_path.name)
    p = found.parameters
    assert p.attention == 2 * (4 * 8 * 8 + 3 * 8 + 8)
    assert p.dense_mlp == 2 * (3 * 8 * 16 + 2 * 16 + 8)
    assert p.norms == 5 * 8
    assert p.embeddings == p.head == 80


def test_qwens_biases_are_on_queries_keys_and_values_alone(tmp_path: Path) -> None:
    found = read_model(written(tmp_path, model_type="qwen2"), TABLES)
    assert found.parameters.attention == 2 * (4 * 8 * 8 + 3 * 8)


def test_names_in_any_case_and_with_their_makers() -> None:
    assert model("deepseek-ai/deepseek-v3") == model("DeepSeek-V3")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "mamba"}, "model_type='mamba'.*known are llama, qwen2, deepseek_v2"),
        ({"hidden_size": 0}, r"hidden_size: .*got 0"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"model_type": "deepseek_v3"}, "kv_lora_rank: missing"),
        ({"n_routed_experts": 4}, "num_experts_per_tok: missing"),
    ],
)
def test_what_can_not_be_counted_is_named(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read_model(written(tmp_path, **changes), TABLES)


def test_no_model_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model='nothing'.*SmolLM2-135M"):
        read_model("nothing", TABLES)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ConfigError, match="JSON object"):
        read_model(str(tmp_path), TABLES)


def test_every_device_is_sourced_and_plausible() -> None:
    wanted = {"A100-40GB", "A100-80GB", "H800", "H100", "H200", "H20", "L40S", "RTX4090"}
    assert wanted <= set(DEVICES)
    for one in DEVICES.values():
        assert one.source
        assert one.idle_w < one.tdp_w
        assert one.tflops["bf16"] > one.tflops["fp32"]


def test_arithmetic_in_the_best_type_that_a_device_has() -> None:
    assert device("H100").flops_per_s(Precision.FP8) == 1979e12
    assert device("A100-80GB").flops_per_s(Precision.FP8) == 312e12
    assert device("H100").flops_per_s(Precision.INT4) == 989.5e12
    assert device("H100", tflops={"bf16": 1.0}).flops_per_s(Precision.FP32) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"memory_gb": -1}, "devices.mine.memory_gb"), ({"speed": 1}, "devices.mine.speed")],
)
def test_a_table_of_ones_own_is_checked(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "mine.yaml"
    fields = DEVICES["L4"].model_dump(exclude_none=True)
    path.write_text(yaml.safe_dump({"devices": {"mine": fields}}))
    assert read_hardware(path)["mine"] == DEVICES["L4"]
    path.write_text(yaml.safe_dump({"devices": {"mine": fields | changes}}))
    with pytest.raises(ConfigError, match=said):
        read_hardware(path)
    with pytest.raises(ConfigError, match="can't be read"):
        read_hardware(tmp_path / "none.yaml")


def test_devices_by_name() -> None:
    assert list(chosen(DEVICES, ["h200", "a10"])) == ["H200", "A10"]
    assert chosen(DEVICES, []) == DEVICES
    with pytest.raises(ConfigError, match=r"gpu='H300'.*H200"):
        chosen(DEVICES, ["H300"])
