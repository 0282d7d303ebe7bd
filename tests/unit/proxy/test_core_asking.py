"""What is added to a request, and what is left as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotuner.proxy.asking import is_completion, read_request


def asked(body: Any, headers: tuple[bytes, ...] = (), *, ask: bool = True) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return raw, read_request(raw, headers, ask_usage=ask)


def test_a_stream_is_asked_for_its_counts_and_nothing_else_changes() -> None:
    raw, told = asked(b'{ "prompt": "a\\ud83d",  "stream": true, "x": 1.50 }')
    assert told.strip
    added = b'{"stream_options":{"include_usage":true},'
    assert told.body == added + raw[1:]
    assert json.loads(told.body)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False, "more": 1}])
def test_other_stream_options_stay(options: Any) -> None:
    _, told = asked({"stream": True, "stream_options": options})
    assert told.strip
    kept = {**(options or {}), "include_usage": True}
    assert json.loads(told.body) == {"stream": True, "stream_options": kept}


@pytest.mark.parametrize(
    "body",
    [
        {"stream": False},
        {"prompt": "a"},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"continuous_usage_stats": True}},
        {"stream": True, "stream_options": 3},
        {"stream": "yes"},
        [],
        {},
        b"no json",
        b"[" * 100_000,
    ],
)
def test_these_go_as_they_came(body: Any) -> None:
    raw, told = asked(body)
    assert (told.body, told.strip) == (raw, False)


def test_a_sealed_body_is_not_touched() -> None:
    raw, told = asked({"stream": True}, (b"content-digest",))
    assert (told.body, told.strip) == (raw, False)
    raw, told = asked({"stream": True}, ask=False)
    assert (told.body, told.strip) == (raw, False)


def test_the_prompts_size() -> None:
    parts = [{"type": "text", "text": "abc"}, {"type": "image_url", "image_url": {"url": "x" * 99}}]
    messages = [{"role": "user", "content": "ab"}, {"role": "user", "content": parts}]
    assert asked({"messages": messages})[1].prompt_chars == 5
    assert asked({"prompt": ["ab", "c"]})[1].prompt_chars == 3
    assert asked({"prompt": [1, 2, 3]})[1].prompt_tokens == 3
    assert asked({"prompt": "ab"})[1].prompt_tokens is None


def test_which_calls_are_counted() -> None:
    assert is_completion("POST", "/v1/chat/completions")
    assert is_completion("POST", "/base/v1/completions")
    assert not is_completion("GET", "/v1/completions")
    assert not is_completion("POST", "/v1/embeddings")
