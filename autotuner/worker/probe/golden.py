"""Golden items: prompts with the answers that a probe holds the model to; how a file gives them.

Text is kept as given: what its token ids are is for whoever knows the tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from autotuner.worker.probe.prompts import PROMPTS

ANSWER_TOKENS = 24  # of an answer that the float32 model makes
MOST_ANSWER_TOKENS = 1024
FIELDS = frozenset({"prompt", "messages", "answer", "expected", "max_tokens"})

Turns = tuple[Mapping[str, str], ...]
Text = str | tuple[int, ...]
Read = TypeVar("Read")


class GoldenError(ValueError):
    """A golden set that can't be used; the message names the place, the field and the fix."""


@dataclass(frozen=True)
class GoldenItem:
    """`prompt` is text, token ids, or the turns of a conversation. An `answer` of None is made by
    the float32 model, `max_tokens` long at most. `expected` is text that a right answer contains.
    """

    prompt: Text | Turns
    answer: Text | None = None
    expected: str | None = None
    max_tokens: int = ANSWER_TOKENS


def built_in(*, chat: bool) -> tuple[GoldenItem, ...]:
    """The built-in prompts, as conversations where the model has a chat template."""
    if not chat:
        return tuple(GoldenItem(prompt) for prompt in PROMPTS)
    return tuple(GoldenItem(({"role": "user", "content": prompt},)) for prompt in PROMPTS)


def parse_golden(text: str, name: str) -> tuple[GoldenItem, ...]:
    """The items of a JSONL file called `name`, one object a line; empty lines are skipped.

    Raises GoldenError that names the line, the field, the value and the fix.
    """
    items = tuple(
        _item(line, f"{name}, line {number}")
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    )
    if not items:
        raise GoldenError(f"{name}: no items: give one JSON object a line, with `prompt`")
    return items


def _item(line: str, place: str) -> GoldenItem:
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise GoldenError(f"{place}: not JSON ({error}): give one JSON object a line") from None
    if not isinstance(raw, dict):
        raise _bad(place, "item", raw, "give a JSON object with `prompt` or `messages`")
    for field in raw.keys() - FIELDS:
        raise _bad(place, field, raw[field], f"unknown field; known: {', '.join(sorted(FIELDS))}")
    return GoldenItem(
        _prompt(raw, place),
        _optional(raw, place, "answer", _text),
        _optional(raw, place, "expected", _expected),
        _optional(raw, place, "max_tokens", _max_tokens) or ANSWER_TOKENS,
    )


def _prompt(raw: dict[str, Any], place: str) -> Text | Turns:
    given = [field for field in ("prompt", "messages") if raw.get(field) is not None]
    if len(given) != 1:
        raise _bad(place, "prompt", raw.get("prompt"), "give either `prompt` or `messages`")
    field = given[0]
    return _text(raw, place, field) if field == "prompt" else _turns(raw, place, field)


def _text(raw: dict[str, Any], place: str, field: str) -> Text:
    value = raw[field]
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(map(_is_token, value)):
        return tuple(value)
    raise _bad(place, field, value, "give a text or a list of token ids, not empty")


def _turns(raw: dict[str, Any], place: str, field: str) -> Turns:
    value = raw[field]
    if isinstance(value, list) and value and all(map(_is_turn, value)):
        return tuple(value)
    fix = 'give a list of {"role": "…", "content": "…"}'
    raise _bad(place, field, value, fix)


def _expected(raw: dict[str, Any], place: str, field: str) -> str:
    value = raw[field]
    if isinstance(value, str) and value.strip():
        return value
    raise _bad(place, field, value, "give a text that a right answer contains")


def _max_tokens(raw: dict[str, Any], place: str, field: str) -> int:
    value = raw[field]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_ANSWER_TOKENS:
        return value
    raise _bad(place, field, value, f"give a whole number from 1 to {MOST_ANSWER_TOKENS}")


def _optional(
    raw: dict[str, Any], place: str, field: str, read: Callable[[dict[str, Any], str, str], Read]
) -> Read | None:
    return None if raw.get(field) is None else read(raw, place, field)


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_turn(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"role", "content"}
        and all(isinstance(text, str) for text in value.values())
    )


def _bad(place: str, field: str, value: object, fix: str) -> GoldenError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return GoldenError(f"{place}: {field}={shown}: {fix}")
