"""Rows as a Parquet file, which says of each column what it holds; needs pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from autotuner.domain.errors import HistoryError
from autotuner.history.columns import to_json

BATCH = 2_000


def write_parquet(
    path: Path, titles: Sequence[str], rows: Callable[[], Iterator[list[Any]]]
) -> int:
    """The number of rows. They are read twice: first for what each column holds, then to write.

    JSON becomes text. Raises HistoryError where pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as problem:
        raise HistoryError("format=parquet: pip install autotuner[parquet]") from problem
    named = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    kinds = _kinds(len(titles), rows())
    fields = [pa.field(t, named[kind]) for t, kind in zip(titles, kinds, strict=True)]
    schema, count, left = pa.schema(fields), 0, rows()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while some := list(islice(left, BATCH)):
            columns = [
                pa.array([_cell(row[i], kinds[i]) for row in some], field.type)
                for i, field in enumerate(fields)
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            count += len(some)
    return count


def _kinds(width: int, rows: Iterator[list[Any]]) -> list[type]:
    """Text for a column without a value; a column of whole and other figures is one of floats."""
    seen: list[set[type]] = [set() for _ in range(width)]
    for row in rows:
        for found, value in zip(seen, row, strict=True):
            if value is not None:
                found.add(str if isinstance(value, dict | list) else type(value))
    return [_one(found) for found in seen]


def _one(found: set[type]) -> type:
    if len(found) == 1:
        return next(iter(found))
    return float if found == {int, float} else str


def _cell(value: Any, kind: type) -> Any:
    if value is None or isinstance(value, kind):
        return value
    if kind is str:
        return to_json(value)
    return kind(value)
