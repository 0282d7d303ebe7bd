"""What the events and answers of OpenAI's completion calls say, read without parsing each. Pure.

In JSON a quote inside a string is always escaped, so a pattern that begins at a bare quote after
`{` or `,` finds keys and never text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotuner.fronts.exposures import Outcome

DONE = b"[DONE]"

_CONTENT = re.compile(
    rb'[{,]\s*"(?:text|content|reasoning_content|reasoning|refusal)"\s*:\s*"(?!")'
    rb'|[{,]\s*"tool_calls"\s*:\s*\[\s*\{'
    rb'|[{,]\s*"function_call"\s*:\s*\{'
)
_FINISH = re.compile(rb'[{,]\s*"finish_reason"\s*:\s*"(\w+)"')
_USAGE = re.compile(rb'[{,]\s*"usage"\s*:\s*\{')
_NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null')
_NO_CHOICES = re.compile(rb'[{,]\s*"choices"\s*:\s*\[\s*\]')
_ID = re.compile(rb'[{,]\s*"id"\s*:\s*"([^"\\]{1,200})"')
_ERROR = re.compile(rb'\s*\{\s*"(?:error"\s*:|object"\s*:\s*"error")')
_BROKEN_OFF = frozenset({"abort", "error"})  # the server gave up on it


@dataclass(frozen=True)
class Usage:
    """The server's own token counts."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass
class StreamReading:
    """What the events of one stream have said so far."""

    id: str | None = None
    content_events: int = 0
    finish: str | None = None
    failed: bool = False
    done: bool = False
    _usage: bytes | None = field(default=None, repr=False)

    def see(self, data: bytes) -> bool:
        """Takes an event's data in; whether it brings content (text, reasoning, a tool call)."""
        if not data or data == DONE:
            self.done = self.done or data == DONE
            return False
        if self.id is None:
            found = _ID.search(data)
            self.id = None if found is None else found[1].decode("utf-8", "replace")
        if b'"usage"' in data and _USAGE.search(data):
            self._usage = data
        if b'"finish_reason":null' not in data:
            self._see_the_odd(data)
        if _CONTENT.search(data) is None:
            return False
        self.content_events += 1
        return True

    def _see_the_odd(self, data: bytes) -> None:
        """Ends and errors: what an ordinary event of a server does not have."""
        finish = _FINISH.search(data)
        if finish is not None:
            self.finish = finish[1].decode()
        elif _ERROR.match(data) is not None:
            self.failed = True

    def usage(self) -> Usage | None:
        """The last counts that were told; they are only parsed here."""
        return None if self._usage is None else usage_of(_parsed(self._usage))

    def outcome(self) -> Outcome:
        """How a stream ended that ended cleanly; one without a finish broke off."""
        if self.failed or (self.finish is None and not self.done):
            return "error"
        return outcome_of(self.finish)


def outcome_of(finish: object) -> Outcome:
    """OpenAI's finish reason as an outcome; tool calls and the like are a stop."""
    if finish in _BROKEN_OFF:
        return "error"
    return "length" if finish == "length" else "stop"


def is_usage_alone(data: bytes) -> bool:
    """Whether this is the chunk that `include_usage` adds: counts, and no choices."""
    return (
        b'"usage"' in data
        and _USAGE.search(data) is not None
        and _NO_CHOICES.search(data) is not None
    )


def without_empty_usage(raw: bytes) -> bytes:
    """The event without the `"usage": null` that `include_usage` puts into every chunk."""
    return _NO_USAGE.sub(b"", raw, count=1) if b'"usage"' in raw else raw


@dataclass(frozen=True)
class WholeReading:
    """What an answer in one piece says."""

    id: str | None
    usage: Usage | None
    outcome: Outcome


def read_whole(body: bytes) -> WholeReading:
    """Never raises: a body that is no JSON object is one without counts."""
    told = _parsed(body)
    choices = told.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    finish = first.get("finish_reason") if isinstance(first, dict) else None
    request_id = told.get("id")
    return WholeReading(
        request_id if isinstance(request_id, str) else None, usage_of(told), outcome_of(finish)
    )


def usage_of(told: Mapping[str, Any]) -> Usage | None:
    """The counts in an answer's `usage`; None where they are missing or no numbers."""
    usage = told.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, output = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(prompt, output or 0, cached or 0)


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
