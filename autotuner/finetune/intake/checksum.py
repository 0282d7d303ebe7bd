"""Does a file have the bytes that its sender meant? By SHA-256, as `sha256sum` writes it."""

from __future__ import annotations

import hashlib
import string
from pathlib import Path

from autotuner.finetune.errors import RefusedFileError

_MOST_BYTES = 65_536  # of a file of checksums; chosen


def verified_sha256(file: Path, given: str | None, *, required: bool = False) -> str:
    """The SHA-256 of `file` in hexadecimal, as `given` or as FILE.sha256 beside it says.

    Raises RefusedFileError where they differ, where what is said is no checksum, where `required`
    and nobody says one, and for a file that can't be read.
    """
    said = given if given is not None else _beside(file)
    if said is None and required:
        raise RefusedFileError(
            f"{file}: has no checksum: write {file.name}.sha256 with `sha256sum {file.name}`, "
            "or give --sha256"
        )
    expected = None if said is None else _checked(said, file)
    found = _sha256(file)
    if expected is not None and found != expected:
        raise RefusedFileError(
            f"{file}: sha256={found}: the checksum says {expected}: "
            "send the file again, or make its checksum anew if it was meant to change"
        )
    return found


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as problem:
        raise RefusedFileError(f"{file}: can't be read ({problem.strerror})") from problem


def _beside(file: Path) -> str | None:
    """The checksum in FILE.sha256: of the line with the file's name, or alone in it."""
    path = file.with_name(file.name + ".sha256")
    try:
        with path.open("rb") as opened:
            lines = opened.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise RefusedFileError(f"{path}: can't be read ({problem.strerror})") from problem
    for line in lines:
        digest, _, name = line.strip().partition(" ")
        if Path(name.lstrip(" *")).name in (file.name, ""):
            return digest
    raise RefusedFileError(
        f"{path}: has no line for {file.name}: make it with `sha256sum {file.name}`"
    )


def _checked(said: str, file: Path) -> str:
    digest = said.strip().lower()
    if len(digest) != 64 or not set(digest) <= set(string.hexdigits):
        shown = said if len(said) <= 80 else said[:79] + "…"
        raise RefusedFileError(
            f"{file}: checksum={shown!r}: give the 64 hexadecimal digits of a SHA-256"
        )
    return digest
