"""What looks at an answer on its way: it times content, and tells in the end how it went."""

from __future__ import annotations

from typing import Protocol

from autotuner.fronts.exposures import Outcome
from autotuner.proxy.life import Life
from autotuner.proxy.reading import (
    StreamReading,
    is_usage_alone,
    read_whole,
    without_empty_usage,
)
from autotuner.proxy.sse import Event, EventSplitter
from autotuner.proxy.traffic import Traffic

_MOST_READ_BYTES = 2**20  # chosen: of an answer in one piece, to find its counts
_OVERLOAD = frozenset({429, 503})


class Observer(Protocol):
    """Takes the chunks of one answer in order; one of `end`, `broke` and `left` is due at last."""

    def take(self, chunk: bytes) -> bytes:
        """The bytes to send on now."""

    def end(self) -> bytes:
        """The answer ended well; the bytes that are still to be sent."""

    def broke(self) -> bytes:
        """The server broke off; the bytes that are still to be sent."""

    def left(self) -> None:
        """The client went away."""


class Unobserved:
    """Passes everything; `life` has been told already, or there is none."""

    def take(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""

    def broke(self) -> bytes:
        return b""

    def left(self) -> None:
        """Nothing to tell."""


class StreamObserver:
    """Of server-sent events. With `strip` whole events leave, without the counts that were added;
    else all bytes leave as they come.
    """

    def __init__(self, traffic: Traffic, life: Life, *, strip: bool) -> None:
        self._traffic, self._life, self._strip = traffic, life, strip
        self._splitter = EventSplitter()
        self._reading = StreamReading()

    def take(self, chunk: bytes) -> bytes:
        events = self._splitter.feed(chunk)
        for event in events:
            if self._reading.see(event.data):
                self._traffic.content(self._life)
        return b"".join(map(_stripped, events)) if self._strip else chunk

    def end(self) -> bytes:
        self._tell(self._reading.outcome())
        return self._splitter.rest if self._strip else b""

    def broke(self) -> bytes:
        self._tell("error")
        return self._splitter.rest if self._strip else b""

    def left(self) -> None:
        """Many clients close at the last event, and do not wait for the end of the body."""
        self._tell(self._reading.outcome() if self._reading.done else "abort")

    def _tell(self, outcome: Outcome) -> None:
        reading, life = self._reading, self._life
        life.id = reading.id or life.id
        if reading.finish is not None and life.gaps.first_at is None:
            self._traffic.whole(life)  # tokens without a text of their own
        self._traffic.ended(life, outcome, reading.usage())


class WholeObserver:
    """Of an answer in one piece, whose first token is its last."""

    def __init__(self, traffic: Traffic, life: Life) -> None:
        self._traffic, self._life = traffic, life
        self._parts: list[bytes] = []
        self._size = 0

    def take(self, chunk: bytes) -> bytes:
        self._size += len(chunk)
        if self._size <= _MOST_READ_BYTES:
            self._parts.append(chunk)
        else:
            self._parts.clear()
        return chunk

    def end(self) -> bytes:
        told = read_whole(b"".join(self._parts))
        self._life.id = told.id or self._life.id
        self._traffic.whole(self._life)
        self._traffic.ended(self._life, told.outcome, told.usage)
        return b""

    def broke(self) -> bytes:
        self._traffic.ended(self._life, "error")
        return b""

    def left(self) -> None:
        self._traffic.ended(self._life, "abort")


def observer_of(
    traffic: Traffic, life: Life | None, status: int, content_type: str, *, strip: bool
) -> Observer:
    """What looks at an answer with this status and type; a refusal is told at once."""
    if life is None:
        return Unobserved()
    if status >= 300:
        _refused(traffic, life, status)
        return Unobserved()
    if content_type == "text/event-stream":
        return StreamObserver(traffic, life, strip=strip)
    return WholeObserver(traffic, life)


def _refused(traffic: Traffic, life: Life, status: int) -> None:
    """A server that has no room rejects; one that refuses a body serves nobody badly."""
    if status in _OVERLOAD:
        traffic.ended(life, "rejected")
    elif status >= 500:
        traffic.ended(life, "error")
    else:
        traffic.dropped(life)


def _stripped(event: Event) -> bytes:
    if b'"usage"' not in event.data:
        return event.raw
    return b"" if is_usage_alone(event.data) else without_empty_usage(event.raw)
