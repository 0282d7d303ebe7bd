"""The model that is trained: where its files are, its tokenizer, its weights' hash.

A base is a folder in Hugging Face's layout or a GGUF file; transformers reads both.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autotuner.finetune.errors import TrainingError

if TYPE_CHECKING:
    import torch

_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class Base:
    """`path` was looked at: there is a model. `name` is what people call it: no path.

    `files_sha256` tells runs on different weights apart.
    """

    path: Path
    name: str
    files_sha256: str

    @classmethod
    def find(cls, path: Path) -> Self:
        """The base at `path`, its weights read once for their hash; raises TrainingError."""
        _check_installed()
        files = _weight_files(path)
        name = path.resolve().stem if path.is_file() else path.resolve().name
        return cls(path, name, _files_sha256(files))

    def load_model(self, dtype: torch.dtype) -> Any:
        """The causal language model, on the CPU, in evaluation mode; raises TrainingError."""
        from transformers import AutoModelForCausalLM

        with _offline(self.path):
            return AutoModelForCausalLM.from_pretrained(**self._where(), dtype=dtype)

    def load_tokenizer(self) -> Any:
        """A tokenizer as transformers has it, for its chat template and special tokens."""
        from transformers import AutoTokenizer

        with _offline(self.path):
            return AutoTokenizer.from_pretrained(**self._where())

    def weights_sha256(self, names: Iterable[str]) -> str:
        """SHA-256 of these weights: by it the worker knows the model that an adapter belongs to.

        In the order of names: the name, a zero byte, the numbers as little-endian float32. So it
        is the same however the model is stored. Raises TrainingError.
        """
        digest = hashlib.sha256()
        for name, weight in self._weights(sorted(names)):
            digest.update(name.encode() + b"\0")
            digest.update(weight.float().contiguous().numpy().astype("<f4").data)
        return digest.hexdigest()

    def _weights(self, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
        if self.path.is_file():
            import torch

            weights = self.load_model(torch.float32).state_dict()
            yield from ((name, weights[name]) for name in names)
            return
        from safetensors import safe_open

        files = {
            name: file
            for file in (safe_open(path, framework="pt") for path in _weight_files(self.path))
            for name in file.keys()  # type: ignore[no-untyped-call]  # noqa: SIM118 (no mapping)
        }
        for name in names:
            if name not in files:
                raise TrainingError(f"base={self.name!r}: no weight {name} in its files")
            yield name, files[name].get_tensor(name)  # type: ignore[no-untyped-call]

    def _where(self) -> dict[str, Any]:
        if self.path.is_file():
            where = {"pretrained_model_name_or_path": str(self.path.parent)}
            return {**where, "gguf_file": self.path.name, "local_files_only": True}
        return {"pretrained_model_name_or_path": str(self.path), "local_files_only": True}


def _files_sha256(files: list[Path]) -> str:
    """SHA-256 over the files' bytes, one after the other in the order of names."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while part := opened.read(_CHUNK_BYTES):
                digest.update(part)
    return digest.hexdigest()


def _check_installed() -> None:
    missing = [name for name in ("transformers", "peft") if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"package {' and '.join(missing)}, which training takes, is not installed: "
            "run `pip install 'autotuner[learn]'`"
        )


def _weight_files(path: Path) -> list[Path]:
    if path.is_file() and path.suffix == ".gguf":
        return [path]
    if not (path / "config.json").is_file():
        raise TrainingError(
            f"base={str(path)!r}: no model there: give a folder with config.json and safetensors, "
            "or a GGUF file"
        )
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise TrainingError(f"base={str(path)!r}: no *.safetensors there: download it again")
    return files


@contextlib.contextmanager
def _offline(path: Path) -> Iterator[None]:
    """The ways that transformers fails become one error; nothing is asked of a network."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        ImportError,
        json.JSONDecodeError,
    ) as error:
        first = str(error).strip().splitlines()[0:1] or [type(error).__name__]
        raise TrainingError(
            f"base={str(path)!r}: transformers can't load it ({first[0]}): give another model"
        ) from error
