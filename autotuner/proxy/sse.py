"""Cuts a stream of server-sent events into its events, however its bytes are split. Pure.

What an event means is in `reading`. The raw bytes of all events, and of what is left, are the
stream's bytes: nothing is lost or changed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_EVENT_BYTES = 8 * 2**20  # chosen: far beyond an event with all its log-probabilities

# A line ends with CRLF, LF or CR; an empty line ends an event (WHATWG HTML, section 9.2.5).
_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_EVENT_END = re.compile(_LINE_END + _LINE_END)
_LINES = re.compile(rb"\r\n|\n|\r")
_LONGEST_END = 4


class Event(NamedTuple):
    """One event: its bytes with the empty line, and its data ("" for a comment)."""

    raw: bytes
    data: bytes


class EventSplitter:
    """Give it chunks in order; it gives events as soon as they are whole."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def rest(self) -> bytes:
        """The bytes of an event that is not whole yet."""
        return self._rest

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in this chunk. What gets too long comes as an event without data."""
        if not self._rest and _is_one_plain_event(chunk):
            return [Event(chunk, chunk[6:-2])]
        searched = max(0, len(self._rest) - _LONGEST_END)
        stream = self._rest + chunk
        events, start = [], 0
        for end in _EVENT_END.finditer(stream, searched):
            raw = stream[start : end.end()]
            events.append(Event(raw, _data(raw)))
            start = end.end()
        self._rest = stream[start:]
        if len(self._rest) > MAX_EVENT_BYTES:
            events.append(Event(self._rest, b""))
            self._rest = b""
        return events


def _is_one_plain_event(chunk: bytes) -> bool:
    """The usual chunk: one line of data, LF alone."""
    return (
        chunk.startswith(b"data: ")
        and chunk.endswith(b"\n\n")
        and chunk.count(b"\n") == 2
        and b"\r" not in chunk
    )


def _data(raw: bytes) -> bytes:
    """The event's data lines, joined; one space after the colon is not part of them."""
    lines = (line for line in _LINES.split(raw) if line.startswith(b"data:"))
    return b"\n".join(line[6:] if line[5:6] == b" " else line[5:] for line in lines)
