"""The client's side of an ASGI connection: its body, its leaving, and an answer of our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope, Send

from autotuner.fronts.errors import ApiError, too_large
from autotuner.fronts.http_io import gone


class ClientGoneError(Exception):
    """The client closed its connection: nobody waits for the answer."""


async def body_of(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """The whole body; raises ApiError 413 as soon as it is too large, and ClientGoneError."""
    told = dict(scope["headers"]).get(b"content-length", b"")
    if told.isdigit() and int(told) > limit_bytes:
        raise too_large(limit_bytes)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


@asynccontextmanager
async def until_gone(receive: Receive) -> AsyncIterator[None]:
    """Ends what is inside with ClientGoneError when the client leaves; the body must be read."""
    here = asyncio.current_task()
    assert here is not None
    cancelling, left = here.cancelling(), False

    def leave(_: asyncio.Task[None]) -> None:
        nonlocal left
        left = True
        here.cancel()

    watching = asyncio.create_task(gone(receive))
    watching.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        if left and here.uncancel() <= cancelling:
            raise ClientGoneError from None
        raise
    finally:
        watching.remove_done_callback(leave)
        watching.cancel()


async def refuse(send: Send, error: ApiError) -> None:
    """The answer that an ApiError is."""
    body = json.dumps(error.body()).encode()
    told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
    headers = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
