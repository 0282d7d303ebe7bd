"""Column types and names that SQLite and PostgreSQL share; no table, no SQL."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Dialect, Double, Integer
from sqlalchemy.types import TypeDecorator

# SQLite counts rows up only in a column declared INTEGER PRIMARY KEY.
Id = BigInteger().with_variant(Integer, "sqlite")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Real(TypeDecorator[float]):
    """A float column in which NaN is stored as NULL, on every database alike.

    Infinities are stored as they are (an interval without a bound has one). Readers that know a
    figure to be NaN when absent use `nan_if_null`.
    """

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        return null_if_nan(value)


def null_if_nan(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def nan_if_null(value: float | None) -> float:
    return math.nan if value is None else value


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    """A CHECK that holds a text column to `values` (NULL passes, as CHECKs do)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def jsonable(value: Any) -> Any:
    """`value` in JSON's own types; NaN and infinities become the strings that `float` reads.

    Dataclasses become objects, so `float(...)` around each of their figures brings them back.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, StrEnum):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def to_json(value: Any) -> str:
    """JSON text that every reader accepts: never the bare words NaN or Infinity."""
    return json.dumps(jsonable(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
