"""Reading rows, and writing such as may be there already, alike on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Executable, Table, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

Row = Mapping[str, Any]
Rows = Sequence[Row]


def fetch(connection: Connection, query: Executable) -> list[dict[str, Any]]:
    return [row._asdict() for row in connection.execute(query)]


def fetch_first(connection: Connection, query: Executable) -> dict[str, Any] | None:
    row = connection.execute(query).first()
    return None if row is None else row._asdict()


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def upsert(connection: Connection, table: Table, rows: Rows, keep: Sequence[str] = ()) -> None:
    """Insert `rows`; one whose primary key is there is updated, save the columns in `keep`."""
    if not rows:
        return
    statement = _insert(connection, table)
    keys = [column.name for column in table.primary_key]
    changed = {
        name: statement.excluded[name] for name in rows[0] if name not in keys and name not in keep
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=changed),
        [dict(row) for row in rows],
    )


def insert_missing(connection: Connection, table: Table, rows: Rows) -> int:
    """Insert those of `rows` that break no unique constraint; returns how many."""
    # Row by row, by what comes back: drivers do not agree on the count of rows.
    statement = _insert(connection, table).on_conflict_do_nothing().returning(*table.primary_key)
    made = (connection.execute(statement, dict(row)).first() for row in rows)
    return sum(row is not None for row in made)


def sync_rows(
    connection: Connection, table: Table, owner: Column[Any], owner_id: str, rows: Rows
) -> None:
    """Make the owner's rows exactly `rows`; only those that differ are written.

    `rows` hold what a read would give back: None for NULL, never NaN.
    """
    keys = [column.name for column in table.primary_key]
    found = fetch(connection, select(table).where(owner == owner_id))
    stored = {_key(row, keys): row for row in found}
    upsert(connection, table, [row for row in rows if stored.pop(_key(row, keys), None) != row])
    if stored:
        columns = [table.c[name] for name in keys]
        connection.execute(table.delete().where(tuple_(*columns).in_(list(stored))))


def _key(row: Row, keys: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in keys)
