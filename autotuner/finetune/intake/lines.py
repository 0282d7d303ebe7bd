"""The lines of a file, none of them longer than agreed, and the example in each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

from autotuner.finetune.errors import RefusedFileError
from autotuner.finetune.examples import Example

FIELDS = ("prompt", "answer", "score")
_BOM = b"\xef\xbb\xbf"


class Lines(Protocol):
    """Such as a file opened in binary."""

    def readline(self, size: int, /) -> bytes: ...


def examples_in(file: Lines, name: str, most_line_bytes: int) -> Iterator[Example]:
    """The examples of an open file, one JSON object a line; empty lines are skipped.

    Raises RefusedFileError that names the line, the field, the value and the fix.
    """
    for number, line in enumerate(_lines(file, name, most_line_bytes), 1):
        text = line.removeprefix(_BOM) if number == 1 else line
        if text.strip():
            yield parse_example(text, f"{name}, line {number}")


def _lines(file: Lines, name: str, most_bytes: int) -> Iterator[bytes]:
    number = 0
    while line := file.readline(most_bytes + 2):
        number += 1
        if len(line.rstrip(b"\r\n")) > most_bytes:
            raise RefusedFileError(
                f"{name}, line {number}: is longer than {most_bytes} bytes: "
                "give one example a line, and shorten it"
            )
        yield line


def parse_example(line: bytes, place: str) -> Example:
    """The example in one line; raises RefusedFileError."""
    raw = _object(_text(line, place), place)
    for field in raw.keys() - set(FIELDS):
        _refuse(place, field, raw[field], f"unknown field; known: {', '.join(FIELDS)}; remove it")
    return Example(_words(raw, "prompt", place), _words(raw, "answer", place), _score(raw, place))


def _text(line: bytes, place: str) -> str:
    if b"\0" in line:
        raise RefusedFileError(f"{place}: holds a NUL byte, so it is no text: give JSONL in UTF-8")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise RefusedFileError(
            f"{place}: is not UTF-8 (byte {problem.start + 1}: {problem.reason}): "
            "write the file in UTF-8, and send it whole"
        ) from problem


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        raw = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as problem:
        raise RefusedFileError(
            f"{place}: is nested too deeply: give one flat object with {', '.join(FIELDS)}"
        ) from problem
    except ValueError as problem:
        raise RefusedFileError(
            f"{place}: not JSON ({problem}): give one JSON object a line"
        ) from problem
    if not isinstance(raw, dict):
        _refuse(place, "example", raw, 'give an object: {"prompt": "…", "answer": "…"}')
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _words(raw: dict[str, Any], field: str, place: str) -> str:
    if field not in raw:
        raise RefusedFileError(f"{place}: {field}: missing: give a text")
    value = raw[field]
    if not isinstance(value, str):
        _refuse(place, field, value, "give a text")
    return value


def _score(raw: dict[str, Any], place: str) -> float | None:
    value = raw.get("score")
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 1:
        _refuse(place, "score", value, "give a number from 0 to 1, or leave it out")
    return float(value)


def _refuse(place: str, field: str, value: object, fix: str) -> NoReturn:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    raise RefusedFileError(f"{place}: {field[:80]}={shown}: {fix}")
