"""A table or a view of the history as a file: CSV, JSON, JSON lines or Parquet.

Rows pass through one by one, whatever their number. Figures are exact: floats in the shortest form
that reads back the same; what was not measured is NULL, never NaN. Times stay epoch seconds, each
with its ISO form beside it. User names and passwords in addresses are left out.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, TableClause, column, inspect, select, table, text

from autotuner.domain.errors import HistoryError
from autotuner.history.columns import jsonable, null_if_nan, to_json
from autotuner.history.engine import Database
from autotuner.history.formats import Format

Row = list[Any]
Write = Callable[[Path, Sequence[str], Callable[[], Iterator[Row]]], int]

BATCH = 2_000  # chosen: rows in memory at once
_HIDDEN = {"alembic_version"}
_LOGIN = re.compile(r"(?<=://)[^/@\s\"]+@")
# Views tell JSON as the database stores it: as text on SQLite, parsed on PostgreSQL.
_JSON = frozenset(
    ("control", "dropped", "explanation", "guardrails", "info", "knobs", "labels", "payload",
     "plan", "points", "settings", "settings_after", "settings_before", "treatment", "versions")
)  # fmt: skip
# The time by which `since` and `until` choose, the first that a table has.
_TIMES = (
    "bucket_at", "decided_at", "seen_at", "made_at", "checked_at", "accepted_at", "started_at",
    "starts_at", "created_at", "asked_at", "released_at", "since_at", "beat_at", "first_seen_at",
    "taken_at", "planned_at",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Which rows: times in epoch s, [since, until). `iso`: times as ISO text beside their epoch."""

    name: str
    since: float | None = None
    until: float | None = None
    target: str | None = None
    iso: bool = True


def exportable(connection: Connection) -> list[str]:
    """The tables and views that people may ask for."""
    known = inspect(connection)
    return sorted({*known.get_table_names(), *known.get_view_names()} - _HIDDEN)


def export(
    database: Database, wanted: Wanted, form: Format, out: Path, *, force: bool = False
) -> int:
    """Rows written to `out`, which is there as a whole or not at all.

    Raises HistoryError for an unknown name, a choice that the table can't make, a file that is
    there already (without `force`), or a folder that can't be written to.
    """
    if out.exists() and not force:
        raise HistoryError(f"out={str(out)!r}: is there already: give another file, or --force")
    write = _writer(form)
    part = out.with_name(f"{out.name}.part")
    try:
        with database.reading() as connection:
            shown = _shown(connection, wanted)
            return _written(connection, shown, wanted, write, part, out)
    except OSError as problem:
        raise HistoryError(f"out={str(out)!r}: can't be written: {problem.strerror}") from problem
    finally:
        with suppress(OSError):
            part.unlink()


def _written(
    connection: Connection, shown: TableClause, wanted: Wanted, write: Write, part: Path, out: Path
) -> int:
    names = [one.name for one in shown.columns]
    times = _iso_beside(names) if wanted.iso else {}

    def rows() -> Iterator[Row]:
        query = _chosen(shown, wanted)
        found = connection.execution_options(yield_per=BATCH).execute(query)
        return (_row(names, row, times) for row in found)

    titles = [title for name in names for title in (name, times.get(name)) if title is not None]
    count = write(part, titles, rows)
    part.replace(out)
    return count


def _shown(connection: Connection, wanted: Wanted) -> TableClause:
    known = exportable(connection)
    if wanted.name not in known:
        raise HistoryError(f"{wanted.name!r}: no such table or view; there are {', '.join(known)}")
    names = [one["name"] for one in inspect(connection).get_columns(wanted.name)]
    return table(wanted.name, *(column(name) for name in names))


def _chosen(shown: TableClause, wanted: Wanted) -> Any:
    query = select(*shown.columns)
    names = [one.name for one in shown.columns]
    if wanted.target is not None:
        if "target" not in names:
            raise HistoryError(f"target: {wanted.name} has no such column: leave --target out")
        query = query.where(shown.c.target == wanted.target)
    at = next((name for name in _TIMES if name in names), None)
    if wanted.since is not None or wanted.until is not None:
        if at is None:
            raise HistoryError(f"since, until: {wanted.name} tells no time: leave them out")
        if wanted.since is not None:
            query = query.where(shown.c[at] >= wanted.since)
        if wanted.until is not None:
            query = query.where(shown.c[at] < wanted.until)
    order = [name for name in (at, "target", "experiment_id", "id", "slot_index") if name in names]
    return query.order_by(*(text(name) for name in order))


def _iso_beside(names: Sequence[str]) -> dict[str, str]:
    """The ISO column of each time; views have theirs already."""
    beside = {name: name.removesuffix("_at") for name in names if name.endswith("_at")}
    return {name: iso for name, iso in beside.items() if iso not in names}


def _row(names: Sequence[str], row: Sequence[Any], times: dict[str, str]) -> Row:
    told: Row = []
    for name, raw in zip(names, row, strict=True):
        told.append(_value(name, raw))
        if name in times:
            told.append(_iso(raw))
    return told


def _iso(at: float | None) -> str | None:
    if at is None:
        return None
    told = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")


def _value(name: str, raw: Any) -> Any:
    if isinstance(raw, str):
        hidden = _LOGIN.sub("", raw)
        return json.loads(hidden) if name in _JSON else hidden
    if isinstance(raw, dict | list):
        return json.loads(_LOGIN.sub("", to_json(raw)))
    if isinstance(raw, Decimal):
        return float(raw)
    return null_if_nan(raw) if isinstance(raw, float) else raw


# ---- formats
def _writer(form: Format) -> Write:
    if form is Format.PARQUET:
        from autotuner.history.parquet import write_parquet

        return write_parquet
    return {Format.CSV: _csv, Format.JSON: _json, Format.JSONL: _jsonl}[form]


def _csv(path: Path, titles: Sequence[str], rows: Callable[[], Iterator[Row]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(titles)
        for row in rows():
            lines.writerow([_cell(value) for value in row])
            count += 1
    return count


def _cell(value: Any) -> Any:
    """NULL is an empty cell; JSON and infinities are text that others read."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return to_json(value)
    return jsonable(value) if isinstance(value, float) else value


def _jsonl(path: Path, titles: Sequence[str], rows: Callable[[], Iterator[Row]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows():
            file.write(to_json(dict(zip(titles, row, strict=True))) + "\n")
            count += 1
    return count


def _json(path: Path, titles: Sequence[str], rows: Callable[[], Iterator[Row]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for row in rows():
            file.write(",\n" if count else "\n")
            file.write(to_json(dict(zip(titles, row, strict=True))))
            count += 1
        file.write("\n]\n")
    return count
