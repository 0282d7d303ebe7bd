"""Connections to the servers; a request goes to another one where one can't be reached."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.pool import Load, Pool

log = logging.getLogger(__name__)

# Below the 5 s after which uvicorn, which both servers run, closes idle connections: a request
# must not be sent on one that is being closed.
_KEEP_ALIVE_S = 3.0
_NOT_ADDED = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class NoServerError(Exception):
    """No server could be reached, or there is none."""


@dataclass(frozen=True)
class Outgoing:
    """A request as the server gets it; `target` is its path and query, as the client wrote them."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """A server's answer whose head is there."""

    response: aiohttp.ClientResponse
    load: Load

    async def chunk(self) -> bytes:
        """The next of its body, empty at the end; raises aiohttp.ClientError at a break."""
        chunk = await self.response.content.readany()
        self.load.heard()
        return chunk


class Upstream:
    """`open` and `close` are due inside the event loop."""

    def __init__(self, pool: Pool, options: Callable[[], ProxyOptions]) -> None:
        self._pool, self._options = pool, options  # those in force: a reload may change them
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        # Bodies stay as they are: nothing is unpacked, no cookie is kept for another client.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError('the proxy was not started: serve it with lifespan="on"')
        return self._session

    @asynccontextmanager
    async def answer(self, request: Outgoing) -> AsyncIterator[Answer]:
        """The server's answer once its head is there; leaving ends it, whole or not.

        Raises NoServerError, and aiohttp.ClientError when the connection breaks before the head:
        the server may have begun to work on it, so it is not sent a second time.
        """
        load, response = await self._first_answer(request)
        load.heard()
        try:
            yield Answer(response, load)
        finally:
            response.close()
            load.leave()

    async def _first_answer(self, request: Outgoing) -> tuple[Load, aiohttp.ClientResponse]:
        tried: list[Load] = []
        while (load := self._pool.pick(tried)) is not None:
            load.enter()
            try:
                return load, await self._send(load, request)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                load.leave()
                tried.append(load)
                self._pool.rest(load, self._options().backend_rest_s)
                log.warning("%s can't be reached: %s", load.backend.name, error)
            except BaseException:
                load.leave()
                raise
        raise NoServerError

    async def _send(self, load: Load, request: Outgoing) -> aiohttp.ClientResponse:
        return await self.session.request(
            request.method,
            URL(load.backend.url + request.target, encoded=True),
            headers=CIMultiDict(request.headers),
            data=request.body or None,
            allow_redirects=False,
            skip_auto_headers=_NOT_ADDED,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._options().connect_timeout_s
            ),
        )
