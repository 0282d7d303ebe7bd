"""Secrets are read from files, once, and never told."""

from __future__ import annotations

from pathlib import Path

from autotuner.domain.errors import ConfigError


def read_secret(path: Path | None, field: str, *, for_header: bool = False) -> str | None:
    """The secret that the file holds, without the white space around it; None without a file.

    `for_header`: it travels in an HTTP header, which carries one word of printable ASCII.
    Raises ConfigError naming `field`, the path and the fix, and nothing of the secret.
    """
    if path is None:
        return None
    named = f"{field}={str(path)!r}"
    try:
        secret = path.read_text(encoding="utf-8").strip()
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
