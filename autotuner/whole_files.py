"""Files and folders that are there whole or not at all, also after a power failure."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """What is written becomes `path` at the end; after an error, `path` is as it was.

    `mode`: its permissions, from the start and whatever the umask; None: as the umask says.
    Raises OSError.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(fresh, flags, 0o666 if mode is None else mode), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes | str, mode: int | None = None) -> None:
    """`data`, text as UTF-8, becomes `path`, or what was there stays; raises OSError."""
    with whole_file(path, mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def publish_folder(made: Path, place: Path) -> None:
    """Moves a folder of finished files to `place`, where nothing is yet, in one step.

    Raises OSError; `place` is not there then.
    """
    for path in made.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(made)
    made.rename(place)
    sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """The names in it are on the disk when this returns; raises OSError."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
