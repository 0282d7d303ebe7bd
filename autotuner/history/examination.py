"""Looks at a history without changing it: is it there, how old are its tables, can it be written.

Unlike opening it, this makes no file and upgrades nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from autotuner.domain.errors import HistoryError
from autotuner.history.engine import Database, open_engine, parse_url
from autotuner.history.upgrade import current, pending


@dataclass(frozen=True)
class HistoryState:
    """`there`: anything was found. `revision`: None for an empty one. `pending`: oldest first."""

    there: bool
    revision: str | None = None
    pending: tuple[str, ...] = ()


def history_folder(url: str) -> Path | None:
    """The folder that a SQLite history lies in; None for a server's. Raises HistoryError."""
    parsed = parse_url(url)
    return Path(str(parsed.database)).parent if parsed.get_backend_name() == "sqlite" else None


def examine_history(url: str) -> HistoryState:
    """What stands at `url`. Raises HistoryError, with the fix, where it can't be used as it is."""
    folder = history_folder(url)
    if folder is not None and not Path(str(parse_url(url).database)).exists():
        if not folder.is_dir():
            raise HistoryError(f"history url={url!r}: there is no folder {folder}: create it")
        return HistoryState(there=False)
    state = HistoryState(True, current(url), tuple(pending(url)))
    database = Database(open_engine(url))
    try:
        with database.reading() as connection:
            refusal = _refusal(connection, empty=state.revision is None)
    finally:
        database.close()
    if refusal:
        raise HistoryError(f"history: {refusal}")
    return state


def _refusal(connection: Connection, *, empty: bool) -> str | None:
    """Why nothing can be written; SQLite's files were looked at when it was opened."""
    if connection.dialect.name != "postgresql":
        return None
    if connection.execute(text("SELECT pg_is_in_recovery()")).scalar():
        return "the database is a standby: give the primary's address"
    asked = (
        "SELECT has_schema_privilege(current_schema(), 'CREATE')"
        if empty
        else "SELECT has_table_privilege('decisions', 'INSERT')"
    )
    if connection.execute(text(asked)).scalar():
        return None
    return "this user may not write: GRANT it the rights on the schema and its tables"
