"""A server that ends: what it still answers, what it cuts off, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from autotuner.proxy.draining import DrainingServer, LastAnswers


@dataclass
class App:
    """/slow streams its second half once `go` is set; anything else is answered at once."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/slow":
            await send({"type": "http.response.body", "body": b"first ", "more_body": True})
            self.begun.set()
            await self.go.wait()
        await send({"type": "http.response.body", "body": b"last"})


@dataclass
class Bench:
    app: App
    server: DrainingServer
    port: int
    serving: asyncio.Task[None]
    stopping: asyncio.Event
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]

    async def ask_to_end(self) -> None:
        """Returns once nothing is accepted any more."""
        self.server.handle_exit(signal.SIGTERM, None)
        await self.stopping.wait()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", self.port)


@dataclass
class Client:
    """One kept-alive connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, path: str) -> None:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        await self.writer.drain()

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of a chunked answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        body = b""
        while size := int((await self.reader.readline()).strip(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()
        return head.lower(), body


@contextlib.asynccontextmanager
async def bench(drain_s: float = 60.0) -> AsyncIterator[Bench]:
    app = App()
    answers = LastAnswers(app)
    config = uvicorn.Config(answers, lifespan="off", log_config=None, ws="none")
    stopping = asyncio.Event()
    server = DrainingServer(config, answers, drain_s, stopping.set)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    # Without its own handling of signals, which ends by raising them in this process.
    serving = asyncio.create_task(server._serve([listening]))
    made = Bench(app, server, port, serving, stopping)
    try:
        yield made
    finally:
        app.go.set()
        server.force_exit = server.should_exit = True
        await serving
        for client in made.clients:
            client.writer.close()
            with contextlib.suppress(ConnectionError):
                await client.writer.wait_closed()


def test_a_stream_under_way_comes_whole_before_the_end() -> None:
    async def play() -> None:
        async with bench() as it:
            client = await it.connect()
            await client.ask("/slow")
            await it.app.begun.wait()
            await it.ask_to_end()
            assert not it.serving.done()
            it.app.go.set()
            assert (await client.answer())[1] == b"first last"
            await it.serving
            assert it.server.cut_off == 0

    asyncio.run(play())


def test_requests_on_open_connections_are_answered_and_told_that_it_is_the_last() -> None:
    """One that was used before, and one whose first request comes only now."""

    async def play() -> None:
        async with bench() as it:
            slow, used, fresh = [await it.connect() for _ in range(3)]
            await slow.ask("/slow")
            await used.ask("/")
            head, _ = await used.answer()
            assert b"connection: close" not in head
            await it.app.begun.wait()
            await it.ask_to_end()
            for client in (used, fresh):
                await client.ask("/")
                head, body = await client.answer()
                assert b"connection: close" in head
                assert body == b"last"
                assert await client.reader.read() == b""
            it.app.go.set()
            assert (await slow.answer())[1] == b"first last"
            await it.serving

    asyncio.run(play())


def test_a_connection_that_stays_idle_does_not_hold_the_end_up() -> None:
    async def play() -> None:
        async with bench() as it:
            client = await it.connect()
            await client.ask("/")
            await client.answer()
            await it.ask_to_end()
            await it.serving
            assert await client.reader.read() == b""

    asyncio.run(play())


def test_what_lasts_beyond_the_time_to_drain_is_cut_and_counted() -> None:
    async def play() -> None:
        async with bench(drain_s=0.05) as it:
            client = await it.connect()
            await client.ask("/slow")
            await it.app.begun.wait()
            await it.ask_to_end()
            await it.serving
            assert it.server.cut_off == 1
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
                await client.answer()

    asyncio.run(play())


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(second: signal.Signals) -> None:
    async def play() -> None:
        async with bench() as it:
            client = await it.connect()
            await client.ask("/slow")
            await it.app.begun.wait()
            await it.ask_to_end()
            it.server.handle_exit(second, None)
            await it.serving
            assert not it.app.go.is_set()

    asyncio.run(play())
