"""The lock that one daemon of those that share a history holds: an advisory one, or a file.

Knows nothing of terms: who holds the lock may begin one (`leader_store`).

On PostgreSQL it is a session's advisory lock on a connection of its own. The server gives it back
when that connection ends: at once after `kill -9`, by `idle_session_timeout` when the holder is
stopped or cut off (its kernel goes on answering keepalives, so those alone would not do). The time
the holder may trust the lock for without asking again is shorter; see `leading`.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import structlog
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from autotuner.domain.errors import HistoryError

log = structlog.get_logger()

_SPACE = 0x4155544F  # of two-part keys; any number that other programs are unlikely to take
_FIRST_WITH_IDLE_TIMEOUT = 140_000


class PostgresLock:
    """Held by the session of one connection, under `name`. For one thread at a time.

    `lease_s`: so long after the last sign of life the server gives it to another.
    """

    def __init__(self, url: URL, name: str, lease_s: float) -> None:
        patience_ms = max(1000, round(lease_s * 500))
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "connect_timeout": max(2, round(lease_s / 2)),
                "application_name": f"autotuner leader {name}"[:63],
                "keepalives_idle": 2,
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "tcp_user_timeout": patience_ms,
            },
        )
        self._name, self._lease_s = name, lease_s
        self._connection: Connection | None = None
        self._pid = 0
        self._held = False
        self._warned = False

    def hold(self) -> bool:
        """Takes the lock if it is free, or confirms it; False also where the server is away."""
        try:
            connection = self._connection or self._connect()
            if self._held and self._session(connection) != self._pid:
                self._drop()  # a pooler between us changed the session: the lock is not ours
                return False
            if not self._held:
                self._held = bool(connection.execute(_TAKE, lock_key(self._name)).scalar())
                self._pid = self._session(connection)
        except SQLAlchemyError as error:
            self._drop()
            log.warning("leader.lock_lost", problem=" ".join(str(error).split())[:200])
        return self._held

    def release(self) -> None:
        """Gives it back, for another to take at once."""
        if self._held and self._connection is not None:
            with suppress(SQLAlchemyError):  # the end of the session gives it back too, a bit later
                self._connection.execute(_GIVE_BACK, lock_key(self._name))
        self._drop()
        self._engine.dispose()

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        self._connection = connection
        version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
        if version >= _FIRST_WITH_IDLE_TIMEOUT:
            limit_ms = round(self._lease_s * 1000)
            connection.exec_driver_sql(f"SET idle_session_timeout = {limit_ms}")
        elif not self._warned:
            self._warned = True
            log.warning("leader.no_lease", problem="PostgreSQL before 14: a stopped leader stays")
        return connection

    def _session(self, connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    def _drop(self) -> None:
        self._held = False
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


_TAKE = text("SELECT pg_try_advisory_lock(:space, :name)")
_GIVE_BACK = text("SELECT pg_advisory_unlock(:space, :name)")
_HELD = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid::bigint = :space AND objid::bigint = (:name + 4294967296) % 4294967296"
)


def lock_key(name: str) -> dict[str, int]:
    """The two signed 32-bit numbers of the advisory lock."""
    number = zlib.crc32(name.encode())
    return {"space": _SPACE, "name": number - 2**32 if number >= 2**31 else number}


def is_held(connection: Connection, name: str) -> bool:
    """Whether any session of a PostgreSQL server holds the lock."""
    return bool(connection.execute(_HELD, lock_key(name)).scalar())


class FileLock:
    """A locked file beside a SQLite database; the system gives it back when the process ends."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.lock")
        self._database = database
        self._file: TextIO | None = None

    def hold(self) -> bool:
        """Always True. Raises HistoryError, naming the other's process, where another has it."""
        if self._file is None:
            self._file = self._locked()
        return True

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _locked(self) -> TextIO:
        try:
            file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise HistoryError(f"history path={str(self.path)!r}: {error.strerror}") from error
        try:
            # A record lock belongs to this process alone: children do not inherit it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            other = file.read().strip() or "unknown"
            file.close()
            raise HistoryError(
                f"history path={str(self._database)!r}: another daemon (pid {other}) works with "
                "it: stop that one, or give this one a history of its own; several daemons with "
                "one leader need PostgreSQL"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file
