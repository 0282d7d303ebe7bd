"""How the database is reached and how a transaction is made; knows no table.

SQLite runs in WAL mode with `synchronous=FULL`. NORMAL would already survive `kill -9` of the
process, because a commit has reached the operating system's cache; but it may lose the last
commits when the machine loses power. A decision must be on disk before it acts, and a cycle
commits only a handful of times, so the fsync at each commit is paid.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from autotuner.domain.errors import HistoryError, HistoryUnavailableError
from autotuner.history.columns import to_json

P = ParamSpec("P")
R = TypeVar("R")

BUSY_TIMEOUT_S = 15.0  # chosen: the longest a writer waits for another before it gives up
CONNECT_TIMEOUT_S = 10
RECYCLE_S = 1800  # chosen: below the idle time-outs that firewalls commonly have

# SQLite's readers see one moment by nature.
_READER: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
}

_FIX_REFERENCE = "a target or an experiment must be recorded before what refers to it"
_FORMS = "give sqlite:///PATH or postgresql://USER@HOST/DATABASE"


def parse_url(url: str) -> URL:
    """The URL with the driver that autotuner uses; raises HistoryError with the fix."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise HistoryError(f"history url={url!r}: not a database URL: {_FORMS}") from error
    shown = parsed.render_as_string(hide_password=True)
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise HistoryError(f"history url={shown!r}: {backend} is not supported: {_FORMS}")
    if parsed.database in (None, "", ":memory:"):
        raise HistoryError(f"history url={shown!r}: the history needs a file: give sqlite:///PATH")
    return parsed.set(drivername="sqlite+pysqlite")


def open_engine(url: str) -> Engine:
    """An engine whose database answers; raises HistoryError that says what is wrong with `url`."""
    parsed = parse_url(url)
    shown = parsed.render_as_string(hide_password=True)
    try:
        engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)
    except ModuleNotFoundError as error:
        raise HistoryError(
            f"history url={shown!r}: {error.name} is missing: install autotuner[postgres]"
        ) from error
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except SQLAlchemyError as error:
        engine.dispose()
        raise HistoryError(f"history url={shown!r}: can't be opened: {_cause(error)}") from error
    return engine


class Database:
    """Transactions on one engine; every database error leaves as HistoryError.

    `fence` looks at each transaction that writes, at its start; what it raises undoes it.
    """

    def __init__(self, engine: Engine, fence: Callable[[Connection], None] | None = None) -> None:
        self.engine = engine
        self._fence = fence
        self._joint = threading.local()
        self._reader = engine.execution_options(read_only=True, **_READER.get(engine.name, {}))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the data; never waits for a writer on SQLite.

        Inside this thread's `together` it sees what was written there.
        """
        joined = self._joined()
        with _ours(), nullcontext(joined) if joined else self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """All or nothing; committed and on disk when the block (or `together`'s) has been left."""
        joined = self._joined()
        with _ours(), nullcontext(joined) if joined else self.engine.begin() as connection:
            if joined is None and self._fence is not None:
                self._fence(connection)
            yield connection

    def read(
        self, question: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """What `question` answers inside `reading`."""
        with self.reading() as connection:
            return question(connection, *args, **kwargs)

    def write(
        self, change: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """What `change` returns inside `writing`."""
        with self.writing() as connection:
            return change(connection, *args, **kwargs)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Makes this thread's blocks inside it one transaction."""
        with self.writing() as connection:
            outer = self._joined()
            self._joint.connection = connection
            try:
                yield
            finally:
                self._joint.connection = outer

    def _joined(self) -> Connection | None:
        joined: Connection | None = getattr(self._joint, "connection", None)
        return joined

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def _ours() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        cause = _cause(error)
        fix = f" ({_FIX_REFERENCE})" if "foreign key" in cause.lower() else ""
        raise HistoryError(f"the history refuses this: {cause}{fix}") from error
    except SQLAlchemyError as error:
        kind = HistoryUnavailableError if _may_pass(error) else HistoryError
        raise kind(f"the history can't be used: {_cause(error)}") from error


@contextmanager
def unavailable_as_ours() -> Iterator[None]:
    """The same for SQLite's driver where it is used by itself."""
    try:
        yield
    except sqlite3.Error as error:
        kind = (
            HistoryUnavailableError if isinstance(error, sqlite3.OperationalError) else HistoryError
        )
        raise kind(f"the history can't be used: {error}") from error


def _may_pass(error: SQLAlchemyError) -> bool:
    lost = getattr(error, "connection_invalidated", False)
    return bool(lost) or isinstance(error, OperationalError | InterfaceError | PoolTimeoutError)


def _cause(error: SQLAlchemyError) -> str:
    text = str(getattr(error, "orig", None) or error).strip()
    return " ".join(text.split())


def _sqlite(url: URL) -> Engine:
    _check_path(Path(str(url.database)))
    engine = create_engine(
        url,
        json_serializer=to_json,
        connect_args={} if "timeout" in url.query else {"timeout": BUSY_TIMEOUT_S},
        pool_timeout=BUSY_TIMEOUT_S,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _check_path(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise HistoryError(f"history path={str(path)!r}: there is no folder {folder}: create it")
    if path.is_dir():
        raise HistoryError(f"history path={str(path)!r}: is a folder: give a file in it")
    # WAL needs files beside the database, so the folder must be writable too.
    for needed in (folder, path):
        if needed.exists() and not os.access(needed, os.W_OK):
            raise HistoryError(
                f"history path={str(path)!r}: {needed} is not writable by this user: "
                "change its owner or mode, or give another path"
            )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not open transactions of its own: `_begin_sqlite` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    # What is deleted can then be given back in small steps. On a file with pages it would wait for
    # the lock, and change nothing.
    if cursor.execute("PRAGMA page_count").fetchone()[0] == 0:
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A write transaction that starts as a reader can't wait for another writer: SQLite fails it
    # at once. Taking the write lock at the start makes writers queue instead.
    reads = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _postgresql(url: URL) -> Engine:
    return create_engine(
        url,
        json_serializer=to_json,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "autotuner",
            "tcp_user_timeout": int(1000 * BUSY_TIMEOUT_S),
        },
        pool_pre_ping=True,
        pool_recycle=RECYCLE_S,
        pool_timeout=BUSY_TIMEOUT_S,
    )
