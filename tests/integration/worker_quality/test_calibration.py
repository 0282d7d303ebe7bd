"""Calibration on tiny models: what it finds, how it is kept, and when it is made anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from autotuner.worker.model_cache import derived_path, made_once
from autotuner.worker.quantise_calibration import (
    MOST_TOKENS,
    calibration_ids,
    gains_of,
)
from autotuner.worker.tokens import TextTokenizer
from tests.integration.worker_engine.tiny_adapters import save_adapter


def test_every_layer_of_the_model_has_gains(tiny: Path, tmp_path: Path) -> None:
    found = gains_of(tiny, tmp_path)
    assert len(found) == 3 * 4 + 1  # three layers of four linears, and the head
    assert all(gains.isfinite().all() for gains in found.values())
    assert {len(gains) for gains in found.values()} == {32, 48}
    assert any(gains.ne(1).any() for gains in found.values())


def test_it_is_found_once(tiny: Path, tmp_path: Path) -> None:
    first = gains_of(tiny, tmp_path)
    [file] = tmp_path.glob("*.safetensors")
    made_at = file.stat().st_mtime_ns
    again = gains_of(tiny, tmp_path)
    assert file.stat().st_mtime_ns == made_at
    assert all(again[name].equal(gains) for name, gains in first.items())


def test_a_changed_model_has_another_file(tiny: Path, tmp_path: Path) -> None:
    before = derived_path(tmp_path, tiny, "kind", "1")
    assert derived_path(tmp_path, tiny, "kind", "1") == before
    assert derived_path(tmp_path, tiny, "kind", "2") != before
    weights = tiny / "model.safetensors"
    state = weights.stat()
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert derived_path(tmp_path, tiny, "kind", "1") != before


def test_a_model_with_an_adapter_has_the_gains_of_the_merged_model(
    tiny: Path, tmp_path: Path
) -> None:
    load: Any = AutoModelForCausalLM
    merged = save_adapter(load.from_pretrained(tiny, dtype=torch.float32), tmp_path / "v1")
    merged.save_pretrained(tmp_path / "merged")
    shutil.copy(tiny / "tokenizer.json", tmp_path / "merged")
    cache = tmp_path / "cache"
    expected, found = gains_of(tmp_path / "merged", cache), gains_of(tiny, cache, tmp_path / "v1")
    assert expected.keys() == found.keys()
    assert all(torch.allclose(found[name], gains, rtol=1e-3) for name, gains in expected.items())
    base = gains_of(tiny, cache)
    assert not all(base[name].equal(gains) for name, gains in found.items())
    assert len(list(cache.glob("*.safetensors"))) == 3


def test_a_folder_without_tokenizer_has_no_gains(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert gains_of(tmp_path, tmp_path) == {}
    assert "no tokenizer.json" in caplog.text


def test_a_cache_that_cannot_be_written_costs_only_time(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    found = gains_of(tiny, tmp_path / "file")
    assert len(found) == 13
    assert "not kept" in caplog.text


def test_the_texts_are_many_and_short(smollm: Path) -> None:
    texts = calibration_ids(TextTokenizer.from_folder(smollm))
    assert len(texts) == 40
    assert all(20 <= len(ids) <= MOST_TOKENS for ids in texts)


def _append_and_write(partial: Path) -> None:
    with partial.parent.joinpath("runs").open("a") as runs:
        runs.write("run\n")
    partial.write_text("whole")


def _make(path: str) -> None:
    made_once(Path(path), _append_and_write)


@pytest.mark.process
def test_of_two_processes_one_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    processes = [get_context("spawn").Process(target=_make, args=(str(path),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert path.read_text() == "whole"
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_failed_making_leaves_nothing(tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        made_once(tmp_path / "file", fail)
    assert _visible(tmp_path) == []


def _visible(folder: Path) -> Sequence[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]
