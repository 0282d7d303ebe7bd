"""The adapters in a folder, for whoever offers them: which ones fit the model, and why not."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autotuner.worker.adapters.adapter import FILES, read_adapter
from autotuner.worker.model_config import ModelConfig, ModelError
from autotuner.worker.settings import BASE
from autotuner.worker.weights import model_tensor_infos

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HIDDEN = (".", "_")  # what is still being written, and what is no adapter

State = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class Found:
    """`names` of the adapters that fit, sorted; `refused` has the reason by name."""

    names: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


class Catalogue:
    """The adapters in `folder` for the model of folder `model`.

    A subfolder that is as it was at the last look is not read again. A name stands for its files:
    they must not change under it.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        """Reads which tensors the model has; raises ModelError."""
        self._folder = folder
        self._tied_head = ModelConfig.from_folder(model).tie_word_embeddings
        self._tensors = model_tensor_infos(model)
        self._known: dict[str, tuple[State, str | None]] = {}
        self._unreadable = ""

    def look(self) -> Found:
        """What is there now. A folder that can't be read has none, which is logged."""
        try:
            found = [path for path in self._folder.iterdir() if path.is_dir()]
            self._unreadable = ""
        except OSError as error:
            found = []
            if str(error) != self._unreadable:
                self._unreadable = str(error)
                log.warning("adapters: %s: no other weights to choose from", error)
        names = sorted(path.name for path in found if _is_shown(path.name))
        self._known = {name: self._looked_at(name) for name in names}
        return Found(
            tuple(name for name, (_, reason) in self._known.items() if reason is None),
            {name: reason for name, (_, reason) in self._known.items() if reason is not None},
        )

    def _looked_at(self, name: str) -> tuple[State, str | None]:
        state, known = _state(self._folder / name), self._known.get(name)
        if known is not None and known[0] == state:
            return known
        reason = self._reason_against(name)
        if reason is None:
            log.info("adapter %s: can be chosen", name)
        else:
            log.warning("adapter %s: refused: %s", name, reason)
        return state, reason

    def _reason_against(self, name: str) -> str | None:
        if name == BASE or not _NAME.fullmatch(name):
            return (
                f"{self._folder / name}: the name must be letters, digits, '.', '_' and '-', "
                f"and not {BASE!r}, which is the model's own weights: rename the folder"
            )
        try:
            read_adapter(self._folder / name).check_fits(self._tensors, self._tied_head)
        except ModelError as error:
            return str(error)
        except OSError as error:  # it goes away, or its owner keeps it to himself
            return f"{self._folder / name}: {error}"
        return None


def _is_shown(name: str) -> bool:
    """Bytes that are no UTF-8 can't be told: they would be lone surrogates, which JSON refuses."""
    return name.isprintable() and not name.startswith(_HIDDEN)


def _state(folder: Path) -> State:
    """Changes when one of the files does."""
    return tuple(_file_state(folder / name) for name in FILES)


def _file_state(file: Path) -> tuple[int, int, int] | None:
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino
