"""Engines with an adapter's weights, against PEFT's merged model as the oracle."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from autotuner.worker.adapters.adapter import read_adapter
from autotuner.worker.adapters.config import AdapterError
from autotuner.worker.adapters.merge import base_hash
from autotuner.worker.engine import Engine
from autotuner.worker.messages import AddRequest
from autotuner.worker.model_config import ModelError
from autotuner.worker.settings import WeightDtype, WorkerSettings
from tests.integration.worker_engine.engine_help import (
    Spy,
    greedy,
    largest_difference,
    make_engine,
    random_prompt,
    reference_logits,
    run_all,
)
from tests.integration.worker_engine.tiny_adapters import LLAMA_LAYERS, save_adapter
from tests.integration.worker_engine.tiny_models import SIZES, TINY, make_tiny

REQUESTS = {f"{n}": (random_prompt(n, SIZES["vocab_size"]), greedy(1 + n % 5)) for n in (3, 33, 90)}
LATENT_LAYERS = ("q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")


@dataclass
class House:
    """A model with adapter v1 in folder `adapters`, and the oracles of both."""

    model: Path
    adapters: Path
    base: Any
    merged: Any

    @property
    def adapter(self) -> Path:
        return self.adapters / "v1"

    def engine(self, weights: str = "v1", weight_dtype: WeightDtype = "float32") -> Engine:
        settings = WorkerSettings(weights=weights, weight_dtype=weight_dtype)
        return make_engine(self.model, adapters=self.adapters, settings=settings)


def make_house(
    folder: Path, kind: str = "llama", layers: tuple[str, ...] = LLAMA_LAYERS, **config: Any
) -> House:
    base = make_tiny(TINY[kind])
    base.save_pretrained(folder / "model")
    merged = save_adapter(base, folder / "adapters" / "v1", layers, **config)
    return House(folder / "model", folder / "adapters", base, merged)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


def error_against(engine: Engine, oracle: Any) -> float:
    """Largest difference of a logit over all requests."""
    spy = Spy(engine)
    tokens = run_all(engine, REQUESTS)
    return max(
        largest_difference(spy.logits[name], reference_logits(oracle, (prompt + tokens[name])[:-1]))
        for name, (prompt, _) in REQUESTS.items()
    )


@pytest.mark.parametrize(
    ("kind", "layers", "config"),
    [
        ("llama-biased", LLAMA_LAYERS, {}),
        ("llama-tied", ("q_proj", "v_proj"), {"use_rslora": True}),
        ("llama-wide-heads", (*LLAMA_LAYERS, "lm_head"), {"r": 1, "lora_alpha": 0.5}),
        ("qwen2", LLAMA_LAYERS, {"layers_to_transform": [1]}),
        ("deepseek-v2-lite", LATENT_LAYERS, {}),
        ("deepseek-v3", ("q_a_proj", "q_b_proj", "kv_b_proj", "o_proj"), {}),
    ],
)
def test_logits_are_those_of_the_merged_model(
    tmp_path: Path, kind: str, layers: tuple[str, ...], config: dict[str, Any]
) -> None:
    house = make_house(tmp_path, kind, layers, **config)
    assert error_against(house.engine(), house.merged) < 2e-3
    assert error_against(house.engine("base"), house.base) < 2e-3
    assert error_against(house.engine(), house.base) > 0.1


def test_a_base_in_bfloat16_is_summed_in_float32(tmp_path: Path) -> None:
    base = make_tiny(copy.deepcopy(TINY["llama"])).to(torch.bfloat16)
    base.save_pretrained(tmp_path / "model")
    load: Any = AutoModelForCausalLM
    exact = load.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    merged = save_adapter(exact, tmp_path / "adapters" / "v1")
    house = House(tmp_path / "model", tmp_path / "adapters", exact, merged)
    assert error_against(house.engine(), merged) < 2e-3


@pytest.mark.parametrize("weight_dtype", ["bfloat16", "int8"])
def test_other_dtypes_are_made_of_the_sum(house: House, weight_dtype: WeightDtype) -> None:
    """The same answers as those of the merged model's own folder, to the bit."""
    merged = house.model.with_name("merged")
    house.merged.save_pretrained(merged)
    expected = Spy(one := make_engine(merged, weight_dtype=weight_dtype))
    got = Spy(other := house.engine(weight_dtype=weight_dtype))
    assert run_all(one, REQUESTS) == run_all(other, REQUESTS)
    for name, logits in expected.logits.items():
        torch.testing.assert_close(torch.stack(got.logits[name]), torch.stack(logits))


def test_nothing_that_is_computed_for_a_prompt_outlives_a_change_of_weights(house: House) -> None:
    """K and V under one set of weights are nothing under another: a new engine knows no prompt."""
    prompt = random_prompt(64, SIZES["vocab_size"])
    for weights in ("base", "v1"):
        engine = house.engine(weights)
        hits = []
        for _ in range(2):
            engine.add(AddRequest("a", prompt, greedy(1), arrival=0.0))
            hits.append(engine.step().prefix_hits)
        assert hits == [0, 48]


def test_an_adapter_of_another_base_is_refused(house: House, tmp_path: Path) -> None:
    names = read_adapter(house.adapter).changes
    facts = house.adapter / "autotuner.json"
    facts.write_text(json.dumps({"base": {"sha256": base_hash(house.model, names, tmp_path)}}))
    assert error_against(house.engine(), house.merged) < 2e-3
    tensors = load_file(house.model / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] += 1
    save_file(tensors, house.model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"autotuner\.json: base\.sha256=.* train it on these"):
        house.engine()


def test_the_hash_of_a_base_is_that_of_its_numbers_however_they_are_stored(
    house: House, tmp_path: Path
) -> None:
    names = list(read_adapter(house.adapter).changes)
    split = tmp_path / "split"
    house.base.save_pretrained(split, max_shard_size="20KB")
    assert base_hash(split, reversed(names), tmp_path) == base_hash(house.model, names, tmp_path)
    blocked = tmp_path / "file"
    blocked.touch()  # no cache can be there: it is computed all the same
    assert base_hash(split, names, blocked) == base_hash(split, names, tmp_path)
    assert base_hash(split, names[1:], tmp_path) != base_hash(split, names, tmp_path)


def test_numbers_that_are_not_finite_are_refused_by_their_tensor(house: House) -> None:
    file = house.adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(iter(sorted(tensors)))
    tensors[name][0, 0] = float("nan")
    save_file(tensors, file)
    with pytest.raises(AdapterError, match="not all of its numbers are finite") as caught:
        house.engine()
    assert name in str(caught.value)


def test_an_adapter_that_is_gone_or_has_no_place_is_told(house: House) -> None:
    shutil.rmtree(house.adapter)
    with pytest.raises(AdapterError, match=r"v1/adapter_config\.json: there is none"):
        house.engine()
    with pytest.raises(ModelError, match="give --adapters FOLDER"):
        make_engine(house.model, weights="v1")
