"""A copy of the history while others write to it, and a history made of such a copy."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, func, insert, inspect, select, text

from autotuner.domain.errors import HistoryError
from autotuner.history.engine import Database, open_engine, parse_url, unavailable_as_ours
from autotuner.history.table_parts import metadata
from autotuner.history.tables import targets
from autotuner.history.upgrade import revisions_after, upgrade

BATCH = 2_000


def backup(url: str, out: Path, *, force: bool = False) -> int:
    """Bytes of the copy of an SQLite history: one moment of it, checked, in one file.

    Others read and write meanwhile. Raises HistoryError on PostgreSQL, with what to run there.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        told = parsed.set(drivername="postgresql").render_as_string(hide_password=True)
        name = told.replace(":***@", "@")
        raise HistoryError(
            "backup: PostgreSQL has its own tools, run "
            f"pg_dump --format=custom --file={out} '{name}', and pg_restore to bring it back"
        )
    if out.exists() and not force:
        raise HistoryError(f"out={str(out)!r}: is there already: give another file, or --force")
    source = Path(str(parsed.database))
    if not source.is_file():
        raise HistoryError(f"history path={str(source)!r}: there is no such file")
    with _part(out) as part:
        _copy(source, part)
        _check(part)
        part.replace(out)
    return out.stat().st_size


def restore(file: Path, url: str) -> list[str]:
    """The revisions by which the copy was upgraded, once the history at `url` is what it holds.

    `url` may be SQLite or PostgreSQL, whatever the copy was made of. Raises HistoryError for a file
    that is no whole history, one of a newer version, or a history that holds something already:
    then nothing is changed.
    """
    if not file.is_file():
        raise HistoryError(f"backup {str(file)!r}: there is no such file")
    _check(file)
    shown = parse_url(url).render_as_string(hide_password=True)
    if not _empty(url):
        raise HistoryError(
            f"history url={shown!r}: holds a history already: give another one, or move it away"
        )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "history.sqlite3"
        _copy(file, copy)
        applied = upgrade(f"sqlite:///{copy}")
        upgrade(url)
        _transfer(f"sqlite:///{copy}", url)
    return applied


def _check(file: Path) -> None:
    """Raises HistoryError unless it is a whole history that this version knows."""
    where = f"backup {str(file)!r}"
    try:
        with closing(sqlite3.connect(f"file:{file.absolute()}?mode=ro", uri=True)) as copy:
            told = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
            broken = copy.execute("PRAGMA foreign_key_check").fetchone()
            revision = _revision(copy)
    except sqlite3.DatabaseError as error:
        raise HistoryError(f"{where}: is no whole SQLite database: {error}") from error
    if told != "ok" or broken is not None:
        raise HistoryError(f"{where}: is damaged: {told if told != 'ok' else broken}")
    if revision is None:
        raise HistoryError(f"{where}: is a database, but no history of autotuner")
    revisions_after(revision)


def _revision(copy: sqlite3.Connection) -> str | None:
    named = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    if copy.execute(named).fetchone() is None:
        return None
    row = copy.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _empty(url: str) -> bool:
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).exists():
        return True
    database = Database(open_engine(url))
    try:
        return database.read(_holds_nothing)
    finally:
        database.close()


def _holds_nothing(connection: Connection) -> bool:
    if not inspect(connection).has_table(targets.name):
        return True
    return connection.execute(select(func.count()).select_from(targets)).scalar_one() == 0


def _transfer(source_url: str, url: str) -> None:
    """All rows, in one transaction: as a whole or not at all."""
    source, into = Database(open_engine(source_url)), Database(open_engine(url))
    try:
        with source.reading() as reading, into.writing() as writing:
            if not _holds_nothing(writing):
                raise HistoryError("restore: somebody wrote to the history meanwhile")
            for table in metadata.sorted_tables:
                rows = reading.execution_options(yield_per=BATCH).execute(select(table))
                for some in rows.mappings().partitions(BATCH):
                    writing.execute(insert(table), [dict(row) for row in some])
                if writing.dialect.name == "postgresql" and "id" in table.c:
                    _go_on_counting(writing, table.name)
    finally:
        source.close()
        into.close()


def _go_on_counting(connection: Connection, table: str) -> None:
    sequence = connection.execute(
        text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": table}
    ).scalar()
    if sequence is not None:
        query = f"SELECT setval('{sequence}', max(id)) FROM {table} HAVING max(id) IS NOT NULL"  # noqa: S608
        connection.execute(text(query))


def _copy(source: Path, out: Path) -> None:
    # In one step: between steps another writer's change would make SQLite begin again.
    with (
        unavailable_as_ours(),
        closing(sqlite3.connect(source)) as reading,
        closing(sqlite3.connect(out)) as copy,
    ):
        reading.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, with no other beside it


@contextmanager
def _part(out: Path) -> Iterator[Path]:
    """A file beside `out`, readable by its owner only, that is gone afterwards."""
    part = out.with_name(f"{out.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        yield part
    except OSError as problem:
        raise HistoryError(f"out={str(out)!r}: can't be written: {problem.strerror}") from problem
    finally:
        with suppress(OSError):
            part.unlink()
