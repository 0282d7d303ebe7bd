"""The file of tokens: one line `NAME ROLE sha256:HEX` each; the tokens themselves are nowhere.

A token is 32 random bytes, so there is no dictionary to try and nothing that a slow hash (scrypt)
would protect: to find one from its SHA-256 takes 2^255 tries on average. A fast hash also keeps a
stranger's wrong tokens from costing the daemon CPU.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from autotuner.domain.errors import ConfigError
from autotuner.whole_files import whole_file

log = structlog.get_logger()

PREFIX = "att_"  # so that scanners for leaked secrets can tell one
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_FIX = "give lines `NAME viewer|operator sha256:HEX`, as `autotuner token new` writes them"


class Role(StrEnum):
    """VIEWER reads; OPERATOR also acts."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Entry:
    """Whose token it is, what they may do, and the SHA-256 of the token in hex."""

    name: str
    role: Role
    digest: str

    @property
    def line(self) -> str:
        return f"{self.name} {self.role} sha256:{self.digest}\n"


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def new_token(name: str, role: Role) -> tuple[str, Entry]:
    """A fresh token, which is kept nowhere, and the entry that knows it again."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, Entry(name, role, digest_of(token))


def parse_tokens(text: str, where: str) -> tuple[Entry, ...]:
    """The entries of a file's text; raises ConfigError naming the line, and nothing of a hash."""
    found: list[Entry] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(_entry(line, f"{where}, line {number}"))
    names = [entry.name for entry in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: two tokens are named {name!r}: take one out")
    return tuple(found)


def _entry(line: str, where: str) -> Entry:
    parts = line.split()
    digest = _DIGEST.fullmatch(parts[2]) if len(parts) == 3 else None
    known = len(parts) == 3 and NAME.fullmatch(parts[0]) and parts[1] in list(Role)
    if digest is None or not known:
        raise ConfigError(f"{where}: not a token's entry: {_FIX}")
    return Entry(parts[0], Role(parts[1]), digest.group(1))


def read_tokens(path: Path) -> tuple[Entry, ...]:
    """Raises ConfigError where the file can't be used, or others than its owner may write it."""
    where = f"listen.tokens_file={str(path)!r}"
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as problem:
        fix = "make a first token: `autotuner token new --name NAME --role operator -c CONFIG`"
        raise ConfigError(f"{where}: there is no such file: {fix}") from problem
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{where}: can't be read ({problem})") from problem
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{where}: others may write it, and so let themselves in: chmod go-w it")
    return parse_tokens(text, where)


def write_tokens(path: Path, entries: tuple[Entry, ...]) -> None:
    """Replaces the file as a whole, readable by its owner alone; raises ConfigError."""
    try:
        with whole_file(path, 0o600) as file:
            file.writelines(entry.line.encode() for entry in entries)
            if path.exists():  # the daemon's user must still be able to read what root added to
                before = path.stat()
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
    except OSError as problem:
        raise ConfigError(f"tokens_file={str(path)!r}: can't be written ({problem})") from problem


class TokenBook:
    """The entries of a file, read again when it changes: a token that is taken out ends at once.

    A file that can't be read lets nobody in until it is mended.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigError for a file that can't be used, or that holds no token at all."""
        self._path = path
        self._stamp = self._stamp_now()
        self._entries = read_tokens(path)
        if not self._entries:
            raise ConfigError(
                f"listen.tokens_file={str(path)!r}: holds no token, so nobody could come in: "
                "`autotuner token new` adds one"
            )

    def of(self, token: str) -> Entry | None:
        """Whose token it is; every entry is compared, in constant time."""
        given, found = digest_of(token), None
        for entry in self.entries():
            if hmac.compare_digest(entry.digest, given):
                found = entry
        return found

    def entries(self) -> tuple[Entry, ...]:
        """Those in force now."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._entries = read_tokens(self._path)
                log.info("tokens.read", names=[entry.name for entry in self._entries])
            except ConfigError as problem:
                self._entries = ()
                log.error("tokens.refused", problem=str(problem))
        return self._entries

    def _stamp_now(self) -> tuple[int, int, int, int] | None:
        try:
            seen = self._path.stat()
        except OSError:
            return None
        return seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_mode
