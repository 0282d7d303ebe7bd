"""Secrets are read from files, once, and never told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autotuner.domain.errors import ConfigError

CREDENTIALS = "CREDENTIALS_DIRECTORY"
_FOLDER = "autotuner"  # LoadCredential=autotuner:/a/folder names its files autotuner_NAME
_BEGINNINGS = (f"${CREDENTIALS}/", f"${{{CREDENTIALS}}}/")


def read_secret(path: Path | None, field: str, *, for_header: bool = False) -> str | None:
    """The secret that the file holds, without the white space around it; None without a file.

    `for_header`: it travels in an HTTP header, which carries one word of printable ASCII.
    A path that begins with $CREDENTIALS_DIRECTORY is one of systemd's credentials.
    Raises ConfigError naming `field`, the path and the fix, and nothing of the secret.
    """
    if path is None:
        return None
    named = f"{field}={str(path)!r}"
    try:
        secret = secret_path(path, field).read_text(encoding="utf-8").strip()
    except OSError as problem:
        fix = "give a file that holds the secret"
        raise ConfigError(f"{named}: can't be read ({problem.strerror}); {fix}") from problem
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{named}: not UTF-8; put the secret into it as text") from problem
    if not secret or not secret.isprintable():
        raise ConfigError(f"{named}: must hold one line with the secret")
    if for_header and not (secret.isascii() and " " not in secret):
        raise ConfigError(f"{named}: must hold one word of ASCII characters, since it is a token")
    return secret


def secret_path(path: Path, field: str, environment: Mapping[str, str] | None = None) -> Path:
    """The file itself, where the path begins with $CREDENTIALS_DIRECTORY (systemd.exec(5)).

    Raises ConfigError where that is not set.
    """
    start = next((start for start in _BEGINNINGS if str(path).startswith(start)), None)
    if start is None:
        return path
    folder = (os.environ if environment is None else environment).get(CREDENTIALS)
    if not folder:
        raise ConfigError(
            f"{field}={str(path)!r}: ${CREDENTIALS} is not set: systemd sets it for a unit with "
            "LoadCredential=; by hand, set it to the folder that holds the files"
        )
    name = str(path).removeprefix(start)
    plain, of_a_folder = Path(folder) / name, Path(folder) / f"{_FOLDER}_{name}"
    return of_a_folder if of_a_folder.exists() else plain


def secrets_digest(settings: Any) -> str:
    """Changes when a secret does that `settings` names by a field ending in _file; "" without any.

    What can't be read counts as empty: whoever needs it says so.
    """
    found = hashlib.sha256()
    paths = list(_secret_files(settings))
    for path in paths:
        try:
            content = secret_path(path, "").read_bytes()
        except (OSError, ConfigError):
            content = b""
        found.update(str(path).encode() + b"\0" + content + b"\0")
    return found.hexdigest() if paths else ""


def _secret_files(settings: Any) -> Iterator[Path]:
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if isinstance(value, Path) and str(name).endswith("_file"):
                yield value
            else:
                yield from _secret_files(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _secret_files(value)
