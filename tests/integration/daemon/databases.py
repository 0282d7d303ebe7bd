"""Histories that can be taken away from a daemon and given back."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

BINARIES = Path("/usr/lib/postgresql/15/bin")
_LOCKING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


class Removable(Protocol):
    """A database that the daemon reaches under `url`."""

    @property
    def url(self) -> str: ...

    def take_away(self) -> None: ...

    def give_back(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class LockedSqlite:
    """Another process takes the write lock, for longer than the daemon waits for it."""

    path: Path
    _locker: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}?timeout=0.3"

    def take_away(self) -> None:
        self._locker = subprocess.Popen(
            [sys.executable, "-c", _LOCKING, str(self.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._locker.stdout is not None
        assert self._locker.stdout.readline() == "locked\n"

    def give_back(self) -> None:
        if self._locker is not None:
            self._locker.communicate()
            self._locker = None

    def close(self) -> None:
        self.give_back()
        with sqlite3.connect(self.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


@dataclass
class StoppedPostgresql:
    """A private server that is stopped and started again on the same data."""

    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        # Not under pytest's own folder: its parents are closed to the user postgres.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.give_back()

    @property
    def _user(self) -> str | None:
        return "postgres" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def take_away(self) -> None:
        self._call("pg_ctl", "stop", "-w", "-m", "fast")

    def give_back(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._call("pg_ctl", "start", "-w", "-l", str(self.folder / "log"), "-o", options)

    def close(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self._call("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(self.folder)

    def _call(self, program: str, *words: str) -> None:
        head, *rest = words
        command = [str(BINARIES / program), head, "-D", str(self.folder / "data"), *rest]
        if program == "initdb":
            command = [str(BINARIES / program), "-D", str(self.folder / "data"), *words]
        subprocess.run(
            command, check=True, user=self._user, cwd=self.folder, stdout=subprocess.DEVNULL
        )
