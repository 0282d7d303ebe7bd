"""Where a model's folder is, and its tensors by name; nothing of what they are used for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from autotuner.worker.cache_home import cache_home
from autotuner.worker.convert import MODEL_NAME, convert_once, packaged_gguf
from autotuner.worker.model_config import ModelConfig, ModelError

if TYPE_CHECKING:
    import torch

__all__ = [
    "ModelConfig",
    "ModelError",
    "TensorFiles",
    "TensorInfo",
    "Tensors",
    "cache_folder",
    "model_tensor_infos",
    "resolve_model",
    "tensor_infos",
]

INDEX_FILE = "model.safetensors.index.json"


def cache_folder() -> Path:
    """Where converted models lie: $XDG_CACHE_HOME (or ~/.cache)/autotuner/models."""
    return cache_home() / "models"


def resolve_model(path: str | Path | None) -> Path:
    """The folder to load: `path`, or the packaged SmolLM2, converted once into the cache folder.

    Raises ModelError for no such folder, no weights in it, or an unsupported architecture.
    """
    if path is None:
        return convert_once(packaged_gguf(), cache_folder() / MODEL_NAME)
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(
            f"model={str(path)!r}: no such folder: give a folder with config.json and safetensors"
        )
    ModelConfig.from_folder(folder)
    _files(folder)
    return folder


@dataclass(frozen=True)
class TensorInfo:
    """What a file's header says of a tensor; `dtype` is safetensors' name of it ("BF16")."""

    dtype: str
    shape: tuple[int, ...]


def model_tensor_infos(folder: Path) -> dict[str, TensorInfo]:
    """The tensors of a model folder by name, without their numbers and without torch."""
    return {name: info for file in _files(folder) for name, info in tensor_infos(file).items()}


def tensor_infos(file: Path) -> dict[str, TensorInfo]:
    """The tensors of one safetensors file by name; raises ModelError for a broken one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {
                name: TensorInfo(part.get_dtype(), tuple(part.get_shape()))
                for name, part in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: not to be read as safetensors ({error}): save it anew") from None


class Tensors(Protocol):
    """Tensors by name, as they are stored or as they are made from what is stored."""

    def __contains__(self, name: str) -> bool: ...

    def get(self, name: str) -> torch.Tensor:
        """The tensor on the CPU; raises ModelError when there is none of this name."""
        ...


class TensorFiles:
    """The tensors of a model folder, one safetensors file or several with an index; read lazily."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self._folder = folder
        self._where = {
            name: file
            for file in (safe_open(path, framework="pt") for path in _files(folder))
            for name in file.keys()  # type: ignore[no-untyped-call]  # noqa: SIM118 (no mapping)
        }

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def get(self, name: str) -> torch.Tensor:
        """The tensor as stored, on the CPU; raises ModelError when there is none of this name."""
        if name not in self._where:
            raise ModelError(
                f"model={str(self._folder)!r}: tensor {name} is missing: download it again"
            )
        tensor: torch.Tensor = self._where[name].get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor


def _files(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    if index.exists():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / name for name in sorted(names)]
    else:
        files = sorted(folder.glob("*.safetensors"))
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        what = ", ".join(missing) or "no *.safetensors"
        raise ModelError(f"model={str(folder)!r}: {what} not found: download it again")
    return files
