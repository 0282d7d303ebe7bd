"""Events are found however their bytes are split, and no byte is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.proxy.sse import MAX_EVENT_BYTES, EventSplitter

LINES = st.sampled_from(
    [b'data: {"a": 1}', b"data:x", b"data:  y", b": comment", b"event: error", b"data", b"id: 7"]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Events with one kind of line end each, as a server has; the last one may be cut off."""
    end = draw(ENDS)
    blocks = draw(st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=4))
    stream = b"".join(end.join(block) + end + end for block in blocks)
    return stream + draw(st.sampled_from([b"", b"data: cut", b"data: cut" + end]))


def split(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted({min(i, len(stream)) for i in at}), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def datas(chunks: list[bytes]) -> list[bytes]:
    splitter = EventSplitter()
    return [event.data for chunk in chunks for event in splitter.feed(chunk) if event.data]


@given(streams(), st.lists(st.integers(0, 120), max_size=12))
def test_splits_change_nothing(stream: bytes, at: list[int]) -> None:
    chunks = split(stream, at)
    splitter = EventSplitter()
    raw = b"".join(event.raw for chunk in chunks for event in splitter.feed(chunk))
    assert raw + splitter.rest == stream
    assert datas(chunks) == datas([stream])


@given(streams())
def test_byte_by_byte_is_the_same_too(stream: bytes) -> None:
    assert datas([stream[i : i + 1] for i in range(len(stream))]) == datas([stream])


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b": ping\n\ndata:a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"event: x\ndata: a\nid: 1\n\n", [b"a"]),
        (b"data: a\n", []),
        (b"\n\ndata: a\n\n", [b"a"]),
    ],
)
def test_what_an_event_says(stream: bytes, told: list[bytes]) -> None:
    assert datas([stream]) == told


def test_what_never_ends_is_let_go() -> None:
    splitter = EventSplitter()
    endless = b"x" * (MAX_EVENT_BYTES + 1)
    assert [event.raw for event in splitter.feed(endless)] == [endless]
    assert splitter.rest == b""
