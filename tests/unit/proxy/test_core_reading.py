"""What an event means, told from its bytes, is what its JSON says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.proxy.reading import (
    StreamReading,
    Usage,
    is_usage_alone,
    read_whole,
    without_empty_usage,
)

TIGHT, WIDE = (",", ":"), (", ", ": ")
ODD_TEXT = st.sampled_from(
    ['"text":"x"', '{"text": "x"', ',"usage":null', '"choices":[]', ',"usage":{', "é\n", '\\"', ","]
)
TEXTS = st.lists(ODD_TEXT | st.text(max_size=5), max_size=4).map("".join)


def chat(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more}


def seen(body: object, separators: tuple[str, str] = TIGHT) -> tuple[bool, StreamReading]:
    reading = StreamReading()
    return reading.see(json.dumps(body, separators=separators).encode()), reading


@pytest.mark.parametrize("separators", [TIGHT, WIDE])
@pytest.mark.parametrize(
    ("delta", "is_content"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant"}, False),
        ({"content": None}, False),
        ({}, False),
        ({"content": "x"}, True),
        ({"reasoning_content": "hm"}, True),
        ({"reasoning": "hm"}, True),
        ({"tool_calls": []}, False),
        ({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}, True),
    ],
)
def test_content_is_what_a_reader_gets(
    delta: dict[str, Any], is_content: bool, separators: tuple[str, str]
) -> None:
    assert seen(chat(delta), separators)[0] is is_content


@given(TEXTS, st.sampled_from([TIGHT, WIDE]), st.booleans())
def test_no_text_is_taken_for_a_key(text: str, separators: tuple[str, str], to_ascii: bool) -> None:
    raw = json.dumps(chat({"content": text}), separators=separators, ensure_ascii=to_ascii)
    reading = StreamReading()
    assert reading.see(raw.encode()) is bool(text)
    assert (reading.finish, reading.failed, reading.usage()) == (None, False, None)
    assert not is_usage_alone(raw.encode())
    assert without_empty_usage(raw.encode()) == raw.encode()


def test_a_stream_ends_with_its_reason() -> None:
    for finish, outcome in (
        ("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("abort", "error"),
    ):  # fmt: skip
        _, reading = seen(chat({"content": "x"}, finish))
        assert reading.outcome() == outcome


def test_without_a_reason_it_broke_off_unless_it_says_done() -> None:
    _, reading = seen(chat({"content": "x"}))
    assert reading.outcome() == "error"
    assert reading.see(b"[DONE]") is False
    assert reading.outcome() == "stop"


def test_an_error_in_the_stream_is_one() -> None:
    _, reading = seen({"error": {"message": "no", "type": "server_error"}})
    reading.see(b"[DONE]")
    assert reading.outcome() == "error"


def test_the_last_counts_are_the_counts() -> None:
    _, reading = seen(chat({"content": "x"}, usage={"prompt_tokens": 3, "completion_tokens": 1}))
    details = {"cached_tokens": 2}
    told = {"prompt_tokens": 3, "completion_tokens": 9, "prompt_tokens_details": details}
    reading.see(json.dumps({"id": "other", "choices": [], "usage": told}).encode())
    assert reading.usage() == Usage(3, 9, 2)
    assert reading.id == "chatcmpl-1"


@pytest.mark.parametrize("separators", [TIGHT, WIDE])
def test_the_chunk_of_counts_is_known_and_their_absence_is_taken_out(
    separators: tuple[str, str],
) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    alone = json.dumps({"id": "a", "choices": [], "usage": usage}, separators=separators)
    assert is_usage_alone(alone.encode())
    with_null = json.dumps(chat({"content": "x"}, usage=None), separators=separators)
    assert not is_usage_alone(with_null.encode())
    plain = json.dumps(chat({"content": "x"}), separators=separators)
    assert without_empty_usage(with_null.encode()) == plain.encode()


def test_an_answer_in_one_piece() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 9}
    whole = {"id": "c", "choices": [{"finish_reason": "length"}], "usage": usage}
    told = read_whole(json.dumps(whole).encode())
    assert (told.id, told.usage, told.outcome) == ("c", Usage(3, 9), "length")


@given(st.binary(max_size=20) | st.sampled_from([b"[]", b'{"choices":[3],"usage":7}', b'{"id":1}']))
def test_no_body_is_too_odd(body: bytes) -> None:
    assert read_whole(body).usage is None
    StreamReading().see(body)
