"""Files that are made once per model and kept in the cache folder; nothing of what is in them.

A file's name tells which model it was made from (names, sizes and times of its files) and by which
version of its maker, so that a changed model or maker never meets an old file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja")


def derived_path(cache: Path, model: Path, kind: str, *made_by: str) -> Path:
    """CACHE/MODEL.KEY.KIND, with a key of the model's files and of `made_by` (versions, inputs)."""
    digest = hashlib.sha256()
    for part in (*states_of(model), *made_by):
        digest.update(part.encode() + b"\0")
    return cache / f"{model.resolve().name}.{digest.hexdigest()[:16]}.{kind}"


def made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, which `make` has filled under another name unless it was there; whole or not at all.

    Of several processes that want it at once one makes it and the others wait.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if not path.exists():
            _make(path, make)
    return path


def states_of(folder: Path) -> Iterator[str]:
    """Names, sizes and times of the files of a model, or of an adapter, in its folder."""
    files = {file for pattern in MODEL_FILES for file in folder.glob(pattern)}
    for file in sorted(files):
        state = file.stat()
        yield f"{file.name} {state.st_size} {state.st_mtime_ns}"


def _make(path: Path, make: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        make(partial)
        partial.chmod(0o644)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds PATH.lock; the system frees it if the process dies."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
