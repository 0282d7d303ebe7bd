"""Bodies in and streams out: size limits, and noticing that the client went away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from autotuner.fronts.errors import ApiError, too_large

CLIENT_CLOSED = 499  # nginx's code for a client that did not wait


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The request's body; raises ApiError 413 as soon as it is known to be too large."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limit_bytes:
        raise too_large(limit_bytes)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit_bytes:
                raise too_large(limit_bytes)
    except ClientDisconnect:
        raise ApiError(CLIENT_CLOSED, "the client went away while it sent the body") from None
    return bytes(body)


async def gone(receive: Receive) -> None:
    """Returns when the client has closed the connection; the body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


class ReleasingStream(StreamingResponse):
    """Server-sent events that call `on_close` however they end, even before the first one."""

    def __init__(self, events: AsyncIterator[bytes], on_close: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_close()
