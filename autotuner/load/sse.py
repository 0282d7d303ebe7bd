"""Reading a completion's event stream cheaply: when tokens came, and the last word's figures.

No event is parsed as JSON save the one with the usage: at hundreds of tokens a second the client
must not become the bottleneck on a machine that it shares with the server.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
_USAGE = re.compile(rb'"usage":\s*\{')
_ERROR = re.compile(rb'^data:\s*\{\s*"error":\s*[{"]')
_EMPTY_TEXT = re.compile(rb'"text":\s*""')
_FINISH = re.compile(rb'"finish_reason":\s*"')


@dataclass
class StreamReader:
    """Fed with the bytes of an event stream as they come, and the time at which they came (s)."""

    event_times_s: list[float] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    finished: bool = False  # a finish reason or the [DONE] mark was seen
    error: str | None = None
    _rest: bytes = b""
    _empty_end_s: float | None = None

    def feed(self, data: bytes, at_s: float) -> None:
        """Takes any piece of the stream: events may be cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line.rstrip(b"\r"), at_s)

    def _event(self, line: bytes, at_s: float) -> None:
        if line[5:].strip() == b"[DONE]":
            self.finished = True
            return
        if _ERROR.match(line):
            self.error = line[5:].strip().decode("utf-8", "replace")[:300]
            return
        if _USAGE.search(line):
            self._read_usage(line)
        if _NO_CHOICES.search(line):
            return
        last = _FINISH.search(line) is not None
        self.finished = self.finished or last
        if last and _EMPTY_TEXT.search(line):
            self._empty_end_s = at_s
        else:  # one without text in mid-stream is a token whose bytes are not a character yet
            self.event_times_s.append(at_s)

    def token_times_s(self) -> list[float]:
        """When events with tokens came. The last event may hold a token without text, or only
        the finish reason: the usage decides.
        """
        told = self.count("completion_tokens")
        if self._empty_end_s is None or told is None or told <= len(self.event_times_s):
            return self.event_times_s
        return [*self.event_times_s, self._empty_end_s]

    def _read_usage(self, line: bytes) -> None:
        try:
            usage = json.loads(line[5:]).get("usage")
        except (ValueError, AttributeError):
            return  # no figures then: the events are counted
        if isinstance(usage, dict):
            self.usage = usage

    def count(self, name: str) -> int | None:
        """A whole number of the usage, such as `completion_tokens`; None where it is not told."""
        value = (self.usage or {}).get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None
