"""A fast server of event streams whose bytes are known beforehand: one raw asyncio protocol.

Cheap on purpose: what is measured stands in front of it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_ALL_AT_ONCE = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"


_EVENT = (
    b'data: {"id":"cmpl-%032x","object":"text_completion","created":1764331200,"model":"source",'
    b'"choices":[{"index":0,"text":" %08x%08x","logprobs":null,"finish_reason":%b,'
    b'"stop_reason":null,"token_ids":null,"prompt_token_ids":null}],"usage":null}\n\n'
)
_USAGE = (
    b'data: {"id":"cmpl-%032x","object":"text_completion","created":1764331200,"model":"source",'
    b'"choices":[],"usage":{"prompt_tokens":3,"total_tokens":%d,"completion_tokens":%d}}\n\n'
)


def events(seed: int, tokens: int) -> list[bytes]:
    """The events of an answer in vLLM's shape: one per token, the usage, the end.

    Each says whose it is and which: one that is lost, doubled or changed changes the sum.
    """
    told = [_EVENT % (seed, seed, index, b"null") for index in range(tokens - 1)]
    told.append(_EVENT % (seed, seed, tokens - 1, b'"length"'))
    return [*told, _USAGE % (seed, tokens + 3, tokens), b"data: [DONE]\n\n"]


class Source(asyncio.Protocol):
    """One connection. A completion's body says `max_tokens`, `seed` and `gap_ms`."""

    def __init__(self) -> None:
        self._came = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, end, rest = self._came.partition(b"\r\n\r\n")
        if not end:
            return
        length = next(
            (int(v) for n, _, v in (line.partition(b":") for line in head.split(b"\r\n"))
             if n.lower() == b"content-length"), 0,
        )  # fmt: skip
        if len(rest) < length:
            return
        self._came = rest[length:]
        if head.startswith(b"POST"):
            asked = json.loads(rest[:length])
            told = events(int(asked.get("seed", 0)), int(asked["max_tokens"]))
            self._stream(told, float(asked.get("gap_ms", 0.0)) / 1e3)
        else:
            self._plain(head.split(b" ", 2)[1].decode())

    def _plain(self, path: str) -> None:
        """What a proxy asks of a server that it meets."""
        assert self._transport is not None
        body, kind = b"{}", "application/json"
        if path == "/v1/models":
            body = b'{"object":"list","data":[{"id":"source","object":"model"}]}'
        elif path == "/metrics":
            body, kind = b"", "text/plain"
        self._transport.write(_ALL_AT_ONCE.format(kind, len(body)).encode() + body)

    def _stream(self, told: list[bytes], gap_s: float) -> None:
        """The first event at once, each other one at its own time: a late one moves no other."""
        loop = asyncio.get_running_loop()
        began, transport = loop.time(), self._transport
        assert transport is not None
        last_token = len(told) - 3

        def send(index: int) -> None:
            data = told[index]
            if index == last_token:  # the usage and the end come with it, as servers have it
                data = b"".join(told[index:])
            chunk = b"%x\r\n%b\r\n" % (len(data), data)
            if index == last_token:
                chunk += b"0\r\n\r\n"
            transport.write(_HEAD + chunk if index == 0 else chunk)
            if index < last_token:
                self._timer = loop.call_at(began + (index + 1) * gap_s, send, index + 1)

        send(0)


async def serve() -> None:
    """Serves on a free port, which the first line on the standard output tells, for ever."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(Source, sock=listener, backlog=4096)
    sys.stdout.write(json.dumps({"event": "listening", "port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
