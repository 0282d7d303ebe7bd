"""What a request asks for, and the one field that the proxy adds: streams shall tell their counts.

Pure. A body that the server would refuse goes to it as it came: its refusal is the better one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

COMPLETION_CALLS = ("/v1/completions", "/v1/chat/completions")
# Headers that vouch for the body's bytes: what they cover must not be changed.
_SEALS = frozenset({b"content-digest", b"repr-digest", b"digest", b"signature"})
_INCLUDE = b'"stream_options":{"include_usage":true},'


@dataclass(frozen=True)
class Asked:
    """`strip`: the usage chunk was asked for by the proxy alone and is taken out again.

    `prompt_tokens` is known where the prompt came as token ids.
    """

    body: bytes
    strip: bool
    prompt_chars: int
    prompt_tokens: int | None


def is_completion(method: str, path: str) -> bool:
    """Whether the call is one whose exposure is kept; a prefix before /v1 is allowed."""
    return method == "POST" and path.endswith(COMPLETION_CALLS)


def read_request(body: bytes, headers: Collection[bytes], *, ask_usage: bool) -> Asked:
    """`headers` are the request's names in lower case."""
    told = _object(body)
    if told is None:
        return Asked(body, strip=False, prompt_chars=0, prompt_tokens=None)
    chars, tokens = _prompt_size(told)
    as_it_came = Asked(body, strip=False, prompt_chars=chars, prompt_tokens=tokens)
    if not ask_usage or told.get("stream") is not True or not _SEALS.isdisjoint(headers):
        return as_it_came
    asking = _with_usage(body, told)
    if asking is None:
        return as_it_came
    return Asked(asking, strip=True, prompt_chars=chars, prompt_tokens=tokens)


def _with_usage(body: bytes, told: Mapping[str, Any]) -> bytes | None:
    """The body that asks for counts; None where it does already, or is not for us to change."""
    if "stream_options" not in told:  # the body's other bytes stay as they are
        start = body.index(b"{") + 1
        return body[:start] + _INCLUDE + body[start:]
    options = told["stream_options"]
    if options is not None and not isinstance(options, dict):
        return None
    options = options or {}
    if options.get("include_usage") or options.get("continuous_usage_stats"):
        return None
    return json.dumps({**told, "stream_options": {**options, "include_usage": True}}).encode()


def _prompt_size(told: Mapping[str, Any]) -> tuple[int, int | None]:
    """Characters of the prompt or messages; tokens where they are given as ids."""
    prompt = told.get("prompt")
    if isinstance(prompt, list) and prompt and all(type(item) is int for item in prompt):
        return 0, len(prompt)
    return _chars(prompt) + _chars(told.get("messages")), None


def _chars(value: Any) -> int:
    """Of all texts in it; what is no text (an image's address is one, sadly) counts nothing."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(_chars, value))
    if isinstance(value, dict):
        return sum(_chars(part) for key, part in value.items() if key in ("content", "text"))
    return 0


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and told else None
