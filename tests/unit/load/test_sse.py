from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.load.sse import StreamReader


def event(text: str, finish: str = "null", usage: str = "") -> bytes:
    return (
        f'data: {{"id":"cmpl-1","choices":[{{"index":0,"text":"{text}","finish_reason":{finish}}}]'
        f"{usage}}}\n\n"
    ).encode()


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


def fed(*pieces: bytes) -> StreamReader:
    reader = StreamReader()
    for at_s, piece in enumerate(pieces):
        reader.feed(piece, float(at_s))
    return reader


def test_each_event_with_a_token_has_its_time() -> None:
    reader = fed(event("a"), event("b"), event("c", '"length"'), USAGE, DONE)
    assert reader.token_times_s() == [0.0, 1.0, 2.0]
    assert reader.finished
    assert (reader.count("prompt_tokens"), reader.count("completion_tokens")) == (7, 3)


def test_a_bare_end_is_no_token_but_a_last_token_without_text_is() -> None:
    bare = USAGE.replace(b'"completion_tokens":3', b'"completion_tokens":2')
    assert fed(event("a"), event("b"), event("", '"stop"'), bare).token_times_s() == [0, 1]
    assert fed(event("a"), event("b"), event("", '"stop"'), USAGE).token_times_s() == [0, 1, 2]
    assert fed(event("a"), event("", '"stop"')).token_times_s() == [0]


def test_a_token_without_text_in_mid_stream_counts() -> None:
    assert fed(event(""), event("é", '"length"')).token_times_s() == [0, 1]


def test_text_that_looks_like_the_protocol_is_text() -> None:
    reader = fed(event("data: [DONE]\\n\\ndata: x"), event('\\"usage\\": {'), event("[DONE]"))
    assert reader.token_times_s() == [0, 1, 2]
    assert not reader.finished
    assert reader.usage is None


def test_usage_null_and_comments_and_other_fields_are_passed_over() -> None:
    reader = fed(b": ping\n\n", event("a", usage=',"usage":null'), b"event: x\nid: 4\n\n")
    assert reader.token_times_s() == [1]
    assert reader.usage is None


def test_an_error_in_the_stream_is_kept() -> None:
    reader = fed(event("a"), b'data: {"error": {"message": "engine is gone"}}\n\n', DONE)
    assert reader.error is not None
    assert "engine is gone" in reader.error
    assert reader.token_times_s() == [0]


@pytest.mark.parametrize(
    "usage", ['{"completion_tokens": "3"}', "{}", '{"completion_tokens":true}']
)
def test_a_usage_that_tells_nothing_is_none(usage: str) -> None:
    reader = fed(f'data: {{"choices":[],"usage":{usage}}}\n\n'.encode())
    assert reader.count("completion_tokens") is None


@given(st.lists(st.integers(1, 40), max_size=60), st.sampled_from([b"\n", b"\r\n"]))
def test_events_may_be_cut_anywhere(cuts: list[int], ending: bytes) -> None:
    stream = b"".join([event("a"), event("data:"), event("c", '"length"'), USAGE, DONE])
    stream = stream.replace(b"\n", ending)
    reader = StreamReader()
    at = 0
    for cut in [*cuts, len(stream)]:
        reader.feed(stream[at : at + cut], 1.0)
        at += cut
    assert len(reader.token_times_s()) == 3
    assert reader.finished
    assert reader.count("completion_tokens") == 3
