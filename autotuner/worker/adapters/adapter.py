"""An adapter's folder: which weights it changes, and whether a model has them. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autotuner.worker.adapters.config import (
    CONFIG_FILE,
    AdapterError,
    bad,
    read_config,
    read_json,
)
from autotuner.worker.weights import TensorInfo, tensor_infos

TENSORS_FILE = "adapter_model.safetensors"
FACTS_FILE = "autotuner.json"  # where it comes from; adapters of others have none
FILES = (CONFIG_FILE, TENSORS_FILE, FACTS_FILE)

FLOATS = ("F64", "F32", "F16", "BF16")
_TENSOR_NAME = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<part>[AB])\.weight")


@dataclass(frozen=True)
class Change:
    """The change of one weight [outputs, inputs]: scale · up · down, by the names of the tensors
    `down` [rank, inputs] (PEFT's lora_A) and `up` [outputs, rank] (lora_B).
    """

    down: str
    up: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class Adapter:
    """`changes` by the name of the weight, as in the model's files. `base_sha256` is that of
    `base_hash`, None where the adapter does not tell.
    """

    tensors: Path
    scale: float
    changes: Mapping[str, Change]
    base_sha256: str | None

    def check_fits(self, shapes: Mapping[str, TensorInfo], tied_head: bool) -> None:
        """Raises AdapterError unless a model of these tensors has every weight that it changes.

        `tied_head`: the model's head is its embedding, so that a change of it would act on both.
        """
        for name, change in self.changes.items():
            info = shapes.get(name)
            layer = name.removesuffix(".weight")
            if info is None or (tied_head and name == "lm_head.weight"):
                fix = "the model has no such layer of its own: train it on this model"
                raise bad(self.tensors, "layer", layer, fix)
            if info.shape != change.shape:
                given, own = ("×".join(map(str, s)) for s in (change.shape, info.shape))
                fix = f"the change is {given} and the model's weight {own}: train it on this model"
                raise bad(self.tensors, "layer", layer, fix)


def read_adapter(folder: Path) -> Adapter:
    """The adapter of a folder, its numbers not yet read; raises AdapterError."""
    config, file = read_config(folder), folder / TENSORS_FILE
    if not file.is_file():
        raise AdapterError(f"{file}: there is none: save the adapter as safetensors")
    infos = tensor_infos(file)
    changes = {name: _change(file, name, parts, infos) for name, parts in _layers(file, infos)}
    if not changes:
        raise AdapterError(f"{file}: no lora_A and lora_B in it: save the adapter again")
    for change in changes.values():
        rank = infos[change.down].shape[0]
        if rank != config.rank:
            fix = f"{change.down} has {rank} rows: they must be the same"
            raise bad(folder / CONFIG_FILE, "r", config.rank, fix)
    return Adapter(file, config.scale, changes, _base_sha256(folder / FACTS_FILE))


def _layers(file: Path, names: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Each weight's name, with the names of the tensors of its parts A and B."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted(names):
        match = _TENSOR_NAME.fullmatch(name)
        if match is None:
            fix = "only lora_A and lora_B of linear layers are merged: save it without this one"
            raise bad(file, "tensor", name, fix)
        found.setdefault(f"{match['layer']}.weight", {})[match["part"]] = name
    return list(found.items())


def _change(
    file: Path, weight: str, parts: Mapping[str, str], infos: Mapping[str, TensorInfo]
) -> Change:
    layer = weight.removesuffix(".weight")
    if parts.keys() != {"A", "B"}:
        raise bad(file, "layer", layer, "lora_A and lora_B belong together: save it again")
    for name in parts.values():
        if infos[name].dtype not in FLOATS or len(infos[name].shape) != 2:
            given = f"{infos[name].dtype} {list(infos[name].shape)}"
            raise bad(file, name, given, "give a matrix of floats: save it again")
    (rank, inputs), (outputs, width) = infos[parts["A"]].shape, infos[parts["B"]].shape
    if rank != width:
        raise bad(file, "layer", layer, f"lora_A has {rank} rows and lora_B {width} columns")
    return Change(parts["A"], parts["B"], (outputs, inputs))


def _base_sha256(file: Path) -> str | None:
    if not file.exists():
        return None
    base = read_json(file).get("base")
    value = base.get("sha256") if isinstance(base, dict) else None
    if value is not None and not isinstance(value, str):
        raise bad(file, "base.sha256", value, "give the hash as hexadecimal text")
    return value
