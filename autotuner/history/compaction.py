"""How large the database is, and giving back to the file system what was deleted from it."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select

from autotuner.history.engine import Database, unavailable_as_ours
from autotuner.history.pruning import PAUSE_S, Cutoffs, prunable, prune, thin, thinnable
from autotuner.history.table_parts import metadata

STEP_PAGES = 256  # chosen: a megabyte a step
_FREE_SHARE = 0.1  # chosen: less than this is left, since new rows take it up again


@dataclass(frozen=True)
class Keeping:
    """From when on what is kept: see `pruning`. `thin_before`: epoch s; None thins nothing."""

    cutoffs: Cutoffs
    thin_before: float | None = None


@dataclass(frozen=True)
class Compacted:
    """Rows by table and bytes of the database, before and after; `deleted` and `thinned` in rows.

    In a dry run the rows after are what they would be, and the bytes are left as they are.
    """

    rows_before: dict[str, int]
    rows_after: dict[str, int]
    bytes_before: int
    bytes_after: int
    deleted: dict[str, int]
    thinned: int


def keep(database: Database, keeping: Keeping) -> dict[str, int]:
    """What a daemon does now and then: rows that went, by table. No writer waits for long."""
    gone = prune(database, keeping.cutoffs)
    if keeping.thin_before is not None:
        gone["samples"] = gone.get("samples", 0) + thin(database, keeping.thin_before)
    if sum(gone.values()):
        shrink(database.engine)
    return gone


def compact(database: Database, keeping: Keeping, *, dry_run: bool = False) -> Compacted:
    """`keep`, and the file made as small as it can be: on SQLite writers wait while it is copied.

    PostgreSQL's autovacuum makes room for new rows, and its files stay as large.
    """
    rows, size = database.read(count_rows), size_bytes(database)
    thin_before = keeping.thin_before
    if dry_run:
        deleted, since = (
            database.read(prunable, keeping.cutoffs),
            keeping.cutoffs.get("samples", 0.0),
        )
        thinned = 0 if thin_before is None else database.read(thinnable, since, thin_before)
        gone = {**deleted, "samples": deleted.get("samples", 0) + thinned}
        after = {name: max(0, count - gone.get(name, 0)) for name, count in rows.items()}
        return Compacted(rows, after, size, size, deleted, thinned)
    deleted = prune(database, keeping.cutoffs)
    thinned = 0 if thin_before is None else thin(database, thin_before)
    rewrite(database.engine)
    return Compacted(rows, database.read(count_rows), size, size_bytes(database), deleted, thinned)


def count_rows(connection: Connection) -> dict[str, int]:
    """Rows by table."""
    return {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in metadata.sorted_tables
    }


def size_bytes(database: Database) -> int:
    """Of the database's file; on PostgreSQL of all its tables and indexes."""
    if database.engine.name == "sqlite":
        query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    else:
        query = "SELECT pg_database_size(current_database())"
    with database.reading() as connection:
        return int(connection.exec_driver_sql(query).scalar_one())


def shrink(engine: Engine) -> None:
    """Gives free pages back, step by step; leaves a file of an older version as it is."""
    if engine.name != "sqlite":
        return
    with unavailable_as_ours(), closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()

        def figure(name: str) -> int:
            return int(cursor.execute(f"PRAGMA {name}").fetchone()[0])

        free = figure("freelist_count")
        if figure("auto_vacuum") != _INCREMENTAL or free < _FREE_SHARE * figure("page_count"):
            return
        while free > 0:
            # Only a script is run to its end: the driver stops a pragma at its first page.
            cursor.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")
            left = figure("freelist_count")
            if left >= free:
                return
            free = left
            time.sleep(PAUSE_S)


def rewrite(engine: Engine) -> None:
    """Writes an SQLite file anew without its free pages; nobody else writes meanwhile."""
    if engine.name != "sqlite":
        return
    with unavailable_as_ours(), closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        # A file of an older version becomes one that shrinks by steps from now on.
        if cursor.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


_INCREMENTAL = 2  # as SQLite numbers its modes of auto_vacuum
