"""Which weights an adapter changes, and whether a model has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autotuner.worker.adapters.adapter import Change, read_adapter
from autotuner.worker.adapters.config import AdapterError
from autotuner.worker.model_config import ModelError
from autotuner.worker.weights import model_tensor_infos
from tests.unit.worker_adapters.adapter_files import (
    TARGETS,
    Tensors,
    lora_tensors,
    write_adapter,
    write_base,
)

Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"


def test_changes_are_named_as_the_models_weights_are(tmp_path: Path) -> None:
    adapter = read_adapter(write_adapter(tmp_path / "a"))
    assert set(adapter.changes) == {f"{layer}.weight" for layer in TARGETS}
    change = adapter.changes["model.layers.0.self_attn.q_proj.weight"]
    assert change == Change(f"{Q_PROJ}.lora_A.weight", f"{Q_PROJ}.lora_B.weight", (8, 6))
    assert (adapter.scale, adapter.base_sha256) == (1.5, None)
    adapter.check_fits(model_tensor_infos(write_base(tmp_path / "model")), tied_head=False)


def changed(name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Tensors:
    return lora_tensors() | {name: value}


def without(name: str) -> Tensors:
    return {key: value for key, value in lora_tensors().items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        (without(f"{Q_PROJ}.lora_B.weight"), "lora_A and lora_B belong together"),
        (changed(f"{Q_PROJ}.lora_magnitude_vector", np.zeros(3, "f4")), "save it without this one"),
        (
            changed("base_model.model.lm_head.weight", np.zeros((11, 6), "f4")),
            "save it without this one",
        ),
        (
            changed("base_model.model.model.embed_tokens.lora_embedding_A", np.zeros(3, "f4")),
            "save it without this one",
        ),
        (changed(f"{Q_PROJ}.lora_A.weight", np.zeros((3, 6), "f4")), "lora_A has 3 rows"),
        (changed(f"{Q_PROJ}.lora_A.weight", np.zeros((2, 6, 1), "f4")), "give a matrix of floats"),
        (changed(f"{Q_PROJ}.lora_A.weight", np.zeros((2, 6), "i4")), "I32 [2, 6]"),
        (lora_tensors(rank=4), "r=2"),
        ({}, "no lora_A and lora_B"),
    ],
)
def test_tensors_that_are_not_plain_lora_are_refused(
    tmp_path: Path, tensors: Tensors, told: str
) -> None:
    with pytest.raises(AdapterError) as caught:
        read_adapter(write_adapter(tmp_path, tensors))
    assert str(tmp_path) in str(caught.value)
    assert told in str(caught.value)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    file = write_adapter(tmp_path) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors: not to be read"):
        read_adapter(tmp_path)
    file.unlink()
    with pytest.raises(AdapterError, match="save the adapter as safetensors"):
        read_adapter(tmp_path)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("layers.0.mlp.down_proj", "the change is 8×6 and the model's weight 6×10"),
        ("layers.1.self_attn.q_proj", "the model has no such layer"),
    ],
)
def test_a_layer_that_the_model_lacks_or_has_in_another_size_is_refused(
    tmp_path: Path, layer: str, told: str
) -> None:
    shapes = model_tensor_infos(write_base(tmp_path / "model"))
    moved = {
        name.replace("layers.0.self_attn.q_proj", layer): value
        for name, value in lora_tensors("model.layers.0.self_attn.q_proj").items()
    }
    adapter = read_adapter(write_adapter(tmp_path / "a", moved))
    with pytest.raises(AdapterError, match=told) as caught:
        adapter.check_fits(shapes, tied_head=False)
    assert f"layer='model.{layer}'" in str(caught.value)


def test_a_head_that_is_the_embedding_can_not_be_changed_alone(tmp_path: Path) -> None:
    shapes = model_tensor_infos(write_base(tmp_path / "model"))
    adapter = read_adapter(write_adapter(tmp_path / "a", lora_tensors("lm_head")))
    adapter.check_fits(shapes, tied_head=False)
    with pytest.raises(AdapterError, match="layer='lm_head': the model has no such layer"):
        adapter.check_fits(shapes, tied_head=True)


def test_the_base_that_it_was_trained_on_is_read_where_it_is_told(tmp_path: Path) -> None:
    facts = write_adapter(tmp_path) / "autotuner.json"
    facts.write_text(json.dumps({"base": {"name": "m", "sha256": "abc"}}))
    assert read_adapter(tmp_path).base_sha256 == "abc"
    facts.write_text(json.dumps({"base": {"name": "m"}}))
    assert read_adapter(tmp_path).base_sha256 is None
    facts.write_text(json.dumps({"base": {"sha256": 7}}))
    with pytest.raises(AdapterError, match=r"autotuner\.json: base\.sha256=7"):
        read_adapter(tmp_path)
