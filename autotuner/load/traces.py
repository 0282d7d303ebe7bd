"""Recorded traffic as arrays: the Azure LLM inference CSV and Mooncake's JSON lines.

Both are public formats of production requests. Errors name the file, the line and the field.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotuner.domain.errors import ConfigError
from autotuner.load.kinds import TraceFormat


@dataclass(frozen=True)
class Trace:
    """Requests in the order of their arrival, times in seconds from the first. All of shape [n]."""

    at_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def span_s(self) -> float:
        return float(self.at_s[-1]) if len(self) else 0.0


Row = tuple[float, int, int]


def read_trace(path: Path, kind: TraceFormat = TraceFormat.AUTO) -> Trace:
    """The trace in a file. Raises ConfigError where it can't be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            if kind is TraceFormat.AUTO:
                kind = _guess(path, lines.readline())
                lines.seek(0)
            read = _azure_rows if kind is TraceFormat.AZURE else _mooncake_rows
            rows = list(read(path, lines))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"trace={str(path)!r}: can't be read: {error}") from error
    if not rows:
        raise ConfigError(f"trace={str(path)!r}: there is no request in it")
    return _in_order(rows)


def _guess(path: Path, first_line: str) -> TraceFormat:
    if first_line.lstrip().startswith("{"):
        return TraceFormat.MOONCAKE
    if "ContextTokens" in first_line:
        return TraceFormat.AZURE
    raise ConfigError(
        f"{path}: line 1: neither an Azure header (TIMESTAMP,ContextTokens,GeneratedTokens) nor a "
        "JSON object with timestamp, input_length, output_length: give the trace's format"
    )


def _in_order(rows: list[Row]) -> Trace:
    at_s = np.array([row[0] for row in rows])
    tokens = np.array([row[1:] for row in rows], dtype=np.int64)
    order = np.argsort(at_s, kind="stable")
    return Trace(at_s[order] - at_s[order[0]], tokens[order, 0], tokens[order, 1])


# ---- Azure
_AZURE_FIELDS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def _azure_rows(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    reader = csv.DictReader(lines)
    for name in _AZURE_FIELDS:
        if name not in (reader.fieldnames or ()):
            raise ConfigError(f"{path}: line 1: the column {name} is missing")
    origin: datetime | None = None
    for row in reader:
        where = f"{path}: line {reader.line_num}"
        moment, fraction_s = _azure_time(row["TIMESTAMP"], where)
        origin = origin or moment
        at_s = (moment - origin).total_seconds() + fraction_s
        prompt, output = (_count(row[name], f"{where}: {name}") for name in _AZURE_FIELDS[1:])
        yield at_s, prompt, output


def _azure_time(text: str | None, where: str) -> tuple[datetime, float]:
    """The whole second and the fraction (7 digits, which datetime does not take)."""
    try:
        whole, _, rest = (text or "").partition(".")
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if rest else ""
        zone = rest[len(digits) :]
        moment = datetime.fromisoformat(whole + zone)
        fraction_s = float(f"0.{digits}") if digits else 0.0
    except ValueError as error:
        raise ConfigError(
            f"{where}: TIMESTAMP={text!r}: give a time such as 2023-11-16 18:15:46.6805900"
        ) from error
    utc = timezone(timedelta(0))
    return (moment if moment.tzinfo else moment.replace(tzinfo=utc)), fraction_s


# ---- Mooncake
def _mooncake_rows(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        record = _json_object(line, where)
        at_ms = record.get("timestamp")
        if isinstance(at_ms, bool) or not isinstance(at_ms, int | float) or at_ms < 0:
            raise ConfigError(f"{where}: timestamp={at_ms!r}: give milliseconds from 0")
        yield (
            at_ms / 1000,
            _count(record.get("input_length"), f"{where}: input_length"),
            _count(record.get("output_length"), f"{where}: output_length"),
        )


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ConfigError(
            f"{where}: give a JSON object with timestamp, input_length, output_length"
        )
    return record


def _count(value: object, where: str) -> int:
    """A whole number of tokens from 0, from text or JSON."""
    text = value.strip() if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdecimal():
        raise ConfigError(f"{where}={value!r}: give a whole number of tokens from 0")
    return int(text)
