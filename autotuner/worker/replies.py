"""What the two completion calls answer: whole bodies, and the events of a stream.

An event costs one `json.dumps` of its text: the rest of it is prepared once per request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from autotuner.fronts.exposures import Outcome
from autotuner.worker.answer import Piece

Kind = Literal["text_completion", "chat.completion"]
DONE = b"data: [DONE]\n\n"
_MARK = "\x00text\x00"


@dataclass(frozen=True)
class Reply:
    """Which call is answered, under which id, by which model, since when (whole s of the epoch)."""

    kind: Kind
    id: str
    model: str
    created: int

    def whole(self, text: str, outcome: Outcome, usage: dict[str, Any]) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": outcome}
        if self.kind == "chat.completion":
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        return self.head(self.kind) | {"choices": [choice], "usage": usage}

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


class EventWriter:
    """The events of one streamed answer: one per token, then the usage if wanted, then the end."""

    def __init__(self, reply: Reply, *, include_usage: bool) -> None:
        self._reply, self._include_usage = reply, include_usage
        self._is_chat = reply.kind == "chat.completion"
        self._before, self._after = self._template({"content": _MARK})
        self._first = True

    def token(self, piece: Piece) -> bytes:
        """The event of a piece; the first one of a chat names the role, the last one the reason."""
        if piece.outcome is None and not (self._first and self._is_chat):
            return self._before + json.dumps(piece.text).encode() + self._after
        delta = {"content": piece.text}
        if self._first:
            delta = {"role": "assistant", **delta}
        self._first = False
        return _event(self._body(delta, piece.outcome))

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The event with the token counts; empty when nobody asked for it."""
        if not self._include_usage:
            return b""
        return _event(self._head() | {"choices": [], "usage": usage})

    def error(self, piece: Piece) -> bytes:
        """The event that says why the answer breaks off."""
        assert piece.error is not None
        return _event(piece.error.body())

    def _template(self, delta: dict[str, str]) -> tuple[bytes, bytes]:
        before, after = _event(self._body(delta, None)).split(json.dumps(_MARK).encode())
        return before, after

    def _body(self, delta: dict[str, str], outcome: Outcome | None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": outcome}
        content = {"delta": delta} if self._is_chat else {"text": delta["content"]}
        body = self._head() | {"choices": [choice | content]}
        return body | {"usage": None} if self._include_usage else body

    def _head(self) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._is_chat else "text_completion"
        return self._reply.head(kind)


def usage_body(prompt_tokens: int, output_tokens: int, cached_tokens: int = 0) -> dict[str, Any]:
    """OpenAI's `usage`; `cached_tokens` of the prompt came from the prefix cache."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
