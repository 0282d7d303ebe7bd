"""What is read of an adapter's config, and all that is refused rather than left out silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.worker.adapters.config import CONFIG_FILE, AdapterError, read_config
from tests.unit.worker_adapters.adapter_files import CONFIG


def write(folder: Path, **config: Any) -> Path:
    (folder / CONFIG_FILE).write_text(json.dumps(CONFIG | config))
    return folder


def test_the_scale_is_alpha_over_the_rank_or_over_its_root(tmp_path: Path) -> None:
    plain = read_config(write(tmp_path, r=16, lora_alpha=8))
    assert (plain.rank, plain.scale) == (16, 0.5)
    assert read_config(write(tmp_path, r=16, lora_alpha=8, use_rslora=True)).scale == 2.0


def test_what_does_not_change_the_sum_is_let_through(tmp_path: Path) -> None:
    more: dict[str, Any] = {"lora_dropout": 0.1, "target_modules": ["q_proj"], "use_dora": False}
    more |= {"modules_to_save": None, "alpha_pattern": {}, "of_tomorrow": None}
    assert read_config(write(tmp_path, init_lora_weights="gaussian", **more)).rank == 2


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        ("peft_type", "IA3", "only LORA"),
        ("bias", "lora_only", 'train with bias="none"'),
        ("use_dora", True, "train plain LoRA without it"),
        ("modules_to_save", ["lm_head"], "train plain LoRA without it"),
        ("alpha_pattern", {"q_proj": 4}, "train plain LoRA without it"),
        ("layer_replication", [[0, 4]], "train plain LoRA without it"),
        ("fan_in_fan_out", True, "train plain LoRA without it"),
        ("of_tomorrow", 3, "train plain LoRA without it"),
        ("init_lora_weights", "pissa_niter_16", "it changes the base weights"),
        ("init_lora_weights", {"a": 1}, "it changes the base weights"),
        ("r", 0, "a whole number from 1"),
        ("r", "8", "a whole number from 1"),
        ("lora_alpha", None, "give a number"),
        ("lora_alpha", float("nan"), "give a number"),
        ("use_rslora", "yes", "true or false"),
    ],
)
def test_the_error_names_the_file_the_field_and_the_fix(
    tmp_path: Path, field: str, value: object, fix: str
) -> None:
    with pytest.raises(AdapterError) as caught:
        read_config(write(tmp_path, **{field: value}))
    told = str(caught.value)
    assert str(tmp_path / CONFIG_FILE) in told
    assert f"{field}={value!r}" in told
    assert fix in told


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff", b'{"r": ' + b"1" * 2**20, b"[" * 10**5])
def test_a_file_that_is_no_small_object_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / CONFIG_FILE).write_bytes(text)
    with pytest.raises(AdapterError, match=CONFIG_FILE):
        read_config(tmp_path)


def test_a_folder_without_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="give a folder in PEFT's layout"):
        read_config(tmp_path)
