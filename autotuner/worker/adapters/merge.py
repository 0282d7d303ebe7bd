"""A model's tensors with an adapter's change added, before anybody slices or quantises them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from autotuner.worker.adapters.adapter import FACTS_FILE, Adapter, Change, read_adapter
from autotuner.worker.adapters.config import AdapterError, bad
from autotuner.worker.model_cache import derived_path, made_once
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.weights import TensorFiles, cache_folder, model_tensor_infos

log = logging.getLogger(__name__)

HASH_VERSION = "1"


class MergedTensors:
    """Implements `weights.Tensors`: W + scale · up · down where the adapter changes W.

    The sum is made in float32, whatever the weights are stored as, and a weight at a time, so that
    memory for one whole weight is all that it takes.
    """

    def __init__(self, base: TensorFiles, adapter: Adapter) -> None:
        self._base, self._adapter = base, adapter
        self._parts = safe_open(adapter.tensors, framework="pt")

    def __contains__(self, name: str) -> bool:
        return name in self._base

    def get(self, name: str) -> Tensor:
        """The tensor [...] on the CPU; raises ModelError, for numbers that are not finite too."""
        weight, change = self._base.get(name), self._adapter.changes.get(name)
        return weight if change is None else self._changed(weight, change)

    def _changed(self, weight: Tensor, change: Change) -> Tensor:
        down, up = (self._part(name) for name in (change.down, change.up))
        return torch.addmm(weight.float(), up, down, alpha=self._adapter.scale)

    def _part(self, name: str) -> Tensor:
        part: Tensor = self._parts.get_tensor(name).float()  # type: ignore[no-untyped-call]
        if not bool(part.isfinite().all()):
            fix = "not all of its numbers are finite: train it again"
            raise bad(self._adapter.tensors, "tensor", name, fix)
        return part


def merged_tensors(model: Path, folder: Path, cache: Path | None = None) -> MergedTensors:
    """The tensors of `model` with the change of the adapter in `folder`.

    Raises AdapterError where it can't be read, does not fit, or was trained on another model.
    """
    adapter = read_adapter(folder)
    tied = ModelConfig.from_folder(model).tie_word_embeddings
    adapter.check_fits(model_tensor_infos(model), tied)
    if adapter.base_sha256 is not None:
        own = base_hash(model, adapter.changes, cache or cache_folder())
        if adapter.base_sha256 != own:
            fix = f"it was trained on other weights than {model.name!r} ({own}): train it on these"
            raise bad(folder / FACTS_FILE, "base.sha256", adapter.base_sha256, fix)
    return MergedTensors(TensorFiles(model), adapter)


def base_hash(model: Path, names: Iterable[str], cache: Path) -> str:
    """Sha256 of these weights of the model, kept in `cache`: computed once per model.

    In the order of the names: the name, a zero byte, the numbers as little-endian float32. So it
    is the same however the model is stored.
    """
    asked = sorted(names)
    path = derived_path(cache, model, "sha256", HASH_VERSION, json.dumps(asked))
    try:
        made_once(path, lambda partial: _write(partial, _hash(model, asked)))
        return path.read_text(encoding="ascii")
    except OSError as error:
        log.warning("the weights' hash is not kept, and is computed anew each time: %s", error)
        return _hash(model, asked)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")


def _hash(model: Path, names: Iterable[str]) -> str:
    files, digest = TensorFiles(model), hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0")
        numbers = files.get(name).float().flatten().numpy()
        digest.update(numbers.astype("<f4", copy=False).data)
    return digest.hexdigest()


__all__ = ["AdapterError", "MergedTensors", "base_hash", "merged_tensors"]
