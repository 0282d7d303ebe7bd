"""Real sockets for the proxy's tests: an ASGI application, and a server that does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp


@contextlib.contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Its base URL; it ends with the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, lifespan="on", log_config=None, date_header=False, server_header=False, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


@dataclass
class Asked:
    """A request as the server got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Talk:
    """One answer in the making."""

    asked: Asked
    writer: asyncio.StreamWriter

    async def head(self, status: int = 200, **headers: str) -> None:
        told = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        self.writer.write(f"HTTP/1.1 {status} Odd\r\nConnection: close\r\n{told}\r\n".encode())
        await self.writer.drain()

    async def stream(self) -> None:
        await self.head(
            content_type="text/event-stream; charset=utf-8", transfer_encoding="chunked"
        )

    async def chunk(self, data: bytes) -> None:
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()

    async def finish(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def whole(self, body: Any, status: int = 200, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
        await self.head(status, content_length=str(len(raw)), **headers)
        self.writer.write(raw)
        await self.writer.drain()


Script = Callable[[Talk], Awaitable[None]]


@dataclass
class OddServer:
    """`script` answers each request; afterwards its connection is closed, whatever was sent."""

    script: Script
    asked: list[Asked] = field(default_factory=list)
    lost: threading.Event = field(default_factory=threading.Event)  # a client went away

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        loop = asyncio.new_event_loop()
        listener = socket.create_server(("127.0.0.1", 0))

        async def serve(end: asyncio.Event) -> None:
            server = await asyncio.start_server(self._talk, sock=listener)
            await end.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        end = asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(serve(end),))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(end.set)
            thread.join(30)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            asked = await _read(reader)
            self.asked.append(asked)
            watching = asyncio.create_task(self._watch(reader))
            try:
                await self.script(Talk(asked, writer))
            finally:
                watching.cancel()
        writer.close()

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        if await reader.read(1) == b"":
            self.lost.set()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    pairs = (line.split(": ", 1) for line in head[1:] if line)
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body)


def event(text: str | None = None, **more: Any) -> bytes:
    """A completion's event, as a server writes it."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": more.pop("finish_reason", None)}
    if text is not None:
        choice["text"] = text
    body = {"id": "cmpl-1", "object": "text_completion", "choices": [choice], **more}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def usage_event(prompt_tokens: int, completion_tokens: int) -> bytes:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    body = {"id": "cmpl-1", "choices": [], "usage": usage}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
