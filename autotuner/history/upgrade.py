"""Bringing a database to the tables that this version reads, by the shipped migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from autotuner import __version__
from autotuner.domain.errors import HistoryError
from autotuner.history.engine import Database, open_engine
from autotuner.resources import resource_folder

# Any number will do, as long as all daemons that upgrade the same PostgreSQL take the same one.
_UPGRADE_LOCK = 0x4155544F


def upgrade(url: str, revision: str = "head") -> list[str]:
    """The revisions that were applied now, oldest first: all of them or none.

    Raises HistoryError for a database newer than this code, or one that can't be opened.
    """
    with _database(url) as database, database.writing() as connection:
        _lock(connection)
        missing = _pending(connection)
        if missing:
            command.upgrade(_config(connection), revision)
        left = _pending(connection)
        return [applied for applied in missing if applied not in left]


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database back to `revision`; what the later ones had added is lost."""
    with _database(url) as database, database.writing() as connection:
        _lock(connection)
        _pending(connection)
        command.downgrade(_config(connection), revision)


def current(url: str) -> str | None:
    """The database's revision; None for an empty one."""
    with _database(url) as database, database.reading() as connection:
        return _current(connection)


def pending(url: str) -> list[str]:
    """The revisions that `upgrade` would apply, oldest first. Raises HistoryError as it does."""
    with _database(url) as database, database.reading() as connection:
        return _pending(connection)


def check_current(url: str) -> None:
    """Raises HistoryError unless the database is at this version's newest revision."""
    missing = pending(url)
    if missing:
        raise HistoryError(
            f"the history is older than autotuner {__version__} "
            f"(missing: {', '.join(missing)}): upgrade it first"
        )


@contextmanager
def _database(url: str) -> Iterator[Database]:
    database = Database(open_engine(url))
    try:
        yield database
    finally:
        database.close()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    # The folder's name passes through ConfigParser, where % starts a reference.
    folder = str(resource_folder("migrations")).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    return config


def _lock(connection: Connection) -> None:
    # SQLite's write transaction is a lock already.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _pending(connection: Connection) -> list[str]:
    return revisions_after(_current(connection))


def revisions_after(at: str | None) -> list[str]:
    """All that a database at revision `at` lacks, oldest first; HistoryError for an unknown one."""
    script = ScriptDirectory.from_config(_config())
    known = [revision.revision for revision in script.walk_revisions()][::-1]
    if at is None:
        return known
    if at not in known:
        raise HistoryError(
            f"the history is at revision {at!r}, which autotuner {__version__} does not know: "
            "it was written by a newer version. Install that version, or restore a backup"
        )
    return known[known.index(at) + 1 :]
