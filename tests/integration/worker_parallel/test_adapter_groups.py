"""Ranks with an adapter's weights compute what one process with the merged model computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from autotuner.worker.engine import Engine
from tests.integration.worker_engine.tiny_adapters import save_adapter
from tests.integration.worker_parallel.groups import (
    VOCAB,
    answers,
    group_engine,
    mixed_requests,
    options_of,
)

pytestmark = pytest.mark.process

REQUESTS = mixed_requests(VOCAB, (2, 40, 130))


@pytest.fixture(scope="module")
def house(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with PEFT's merged model, and adapter v1 under adapters."""
    folder = tmp_path_factory.mktemp("adapted")
    load: Any = AutoModelForCausalLM
    merged = save_adapter(
        load.from_pretrained(tiny, dtype=torch.float32), folder / "adapters" / "v1"
    )
    merged.save_pretrained(folder / "merged")
    return folder


def test_every_rank_slices_the_sum(tiny: Path, house: Path) -> None:
    tokens, logits = answers(Engine(options_of(house / "merged")), REQUESTS)
    options = options_of(tiny, 2, 2, house / "adapters", weights="v1")
    with group_engine(options) as engine:
        group_tokens, group_logits = answers(engine, REQUESTS)
    assert group_tokens == tokens
    for name, expected in logits.items():
        torch.testing.assert_close(group_logits[name], expected, atol=1e-3, rtol=0.0)


def test_int8_weights_are_made_of_each_ranks_part_of_the_sum(tiny: Path, house: Path) -> None:
    with group_engine(options_of(house / "merged", 2, weight_dtype="int8")) as engine:
        expected = answers(engine, REQUESTS)[1]
    options = options_of(tiny, 2, 1, house / "adapters", weights="v1", weight_dtype="int8")
    with group_engine(options) as engine:
        found = answers(engine, REQUESTS)[1]
    for name, logits in expected.items():
        torch.testing.assert_close(found[name], logits, atol=1e-3, rtol=0.0)


def test_numbers_that_only_a_follower_reads_fail_the_group(
    tiny: Path, house: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "v2"
    adapter.mkdir()
    for file in (house / "adapters" / "v1").iterdir():
        (adapter / file.name).write_bytes(file.read_bytes())
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = "base_model.model.model.layers.2.mlp.up_proj.lora_A.weight"
    tensors[name][0, 0] = float("inf")
    save_file(tensors, adapter / "adapter_model.safetensors")
    with (
        pytest.raises(RuntimeError, match=r"rank 1: AdapterError: .*layers\.2\.mlp\.up_proj"),
        group_engine(options_of(tiny, 1, 2, tmp_path, weights="v2")),
    ):
        pass
