"""The data path: a request to the server and its answer back, with a look at what it says."""

from __future__ import annotations

import asyncio

import aiohttp
from starlette.types import Receive, Scope, Send

from autotuner.fronts.errors import ApiError, engine_gone, overloaded
from autotuner.fronts.exposures import Outcome
from autotuner.proxy.admission import QueueFullError
from autotuner.proxy.asking import Asked, is_completion, read_request
from autotuner.proxy.client import ClientGoneError, body_of, refuse, until_gone
from autotuner.proxy.headers import to_client, to_server
from autotuner.proxy.life import Life
from autotuner.proxy.observers import Observer, StreamObserver, observer_of
from autotuner.proxy.ports import Engines
from autotuner.proxy.traffic import Traffic
from autotuner.proxy.upstream import Answer, NoServerError, Outgoing, Upstream

RETRY_AFTER_S = 1


class Forwarder:
    """Passes any request on; those of completions are counted and leave an exposure."""

    def __init__(self, traffic: Traffic, engines: Engines, upstream: Upstream) -> None:
        self.traffic, self.engines, self.upstream = traffic, engines, upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = is_completion(scope["method"], scope["path"])
        passage = _Passage(self, scope, send, self.traffic.arrived() if counted else None)
        try:
            await self._carry(passage, receive)
        finally:
            passage.ended("error")  # where nothing better is known

    async def _carry(self, passage: _Passage, receive: Receive) -> None:
        options = self.traffic.options
        try:
            body = await body_of(passage.scope, receive, options.max_body_bytes)
            async with until_gone(receive), asyncio.timeout(options.request_timeout_s):
                await passage.carry(body)
        except ClientGoneError:
            passage.left()
        except TimeoutError:
            passage.ended("error")
            late = ApiError(
                504, f"not finished within {options.request_timeout_s:g} s", code="timeout"
            )
            await passage.refuse(late)
        except ApiError as error:
            passage.dropped()
            await passage.refuse(error)


class _Passage:
    """One request on its way. `life` is None where no exposure is kept."""

    def __init__(self, forwarder: Forwarder, scope: Scope, send: Send, life: Life | None) -> None:
        self._by, self.scope, self._send, self._life = forwarder, scope, send, life
        self._traffic = forwarder.traffic
        self._observer: Observer | None = None  # once an answer has begun

    async def carry(self, body: bytes) -> None:
        """Raises ApiError where the answer is the proxy's own."""
        asked = self._asked(body)
        if self.scope["method"] != "POST":  # questions to the server, not work
            await self._exchange(asked)
            return
        await self._enter()
        try:
            await self._exchange(asked)
        finally:
            self._traffic.admission.leave()

    def ended(self, outcome: Outcome) -> None:
        if self._life is not None:
            self._traffic.ended(self._life, outcome)

    def left(self) -> None:
        """The client went away."""
        if self._observer is not None:
            self._observer.left()
        self.ended("abort")

    def dropped(self) -> None:
        if self._life is not None:
            self._traffic.dropped(self._life)

    async def refuse(self, error: ApiError) -> None:
        """An answer that has begun is cut instead: returning without its end does that."""
        if self._observer is None:
            await refuse(self._send, error)

    def _asked(self, body: bytes) -> Asked:
        if self._life is None:
            return Asked(body, strip=False, prompt_chars=0, prompt_tokens=None)
        names = {name for name, _ in self.scope["headers"]}
        asked = read_request(body, names, ask_usage=self._traffic.options.usage == "ask")
        self._life.prompt_chars = asked.prompt_chars
        self._life.prompt_tokens = asked.prompt_tokens
        return asked

    async def _enter(self) -> None:
        admission = self._traffic.admission
        if not admission.held:  # while held, a restart is under way: wait for its end
            self._check_served()
        try:
            await admission.enter()
        except QueueFullError:
            self.ended("rejected")
            message = f"{admission.waiting} requests are waiting: come back later"
            raise overloaded(message, RETRY_AFTER_S) from None
        try:
            self._check_served()
        except ApiError:
            admission.leave()
            raise
        if self._life is not None:
            self._traffic.admitted(self._life)

    def _check_served(self) -> None:
        outage = self._by.engines.outage()
        if outage is not None:
            self.ended("rejected")
            raise engine_gone(outage)

    async def _exchange(self, asked: Asked) -> None:
        try:
            async with self._by.upstream.answer(self._outgoing(asked)) as answer:
                await self._relay(answer, strip=asked.strip)
        except NoServerError:
            self.ended("rejected")
            raise engine_gone("the server can't be reached: come back later") from None
        except aiohttp.ClientError as error:
            self.ended("error")
            message = f"the server broke the connection off: {type(error).__name__}"
            raise ApiError(502, message, code="broken_off") from error

    def _outgoing(self, asked: Asked) -> Outgoing:
        scope, client = self.scope, self.scope.get("client")
        query = scope["query_string"]
        target = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        headers = to_server(
            scope["headers"],
            client[0] if client else None,
            observed=self._life is not None,
            token=self._traffic.options.upstream_token,
        )
        return Outgoing(
            scope["method"],
            f"{target}?{query.decode('latin-1')}" if query else target,
            headers,
            asked.body,
        )

    async def _relay(self, answer: Answer, *, strip: bool) -> None:
        head = answer.response
        # A packed answer, which was not asked for, can't be read: it is one in one piece.
        packed = head.headers.get("Content-Encoding", "identity") != "identity"
        observer = observer_of(
            self._traffic,
            self._life,
            head.status,
            "" if packed else head.content_type,
            strip=strip,
        )
        self._observer = observer
        resized = strip and isinstance(observer, StreamObserver)
        await self._send(
            {
                "type": "http.response.start",
                "status": head.status,
                "headers": to_client(head.raw_headers, resized=resized),
            }
        )
        try:
            while chunk := await answer.chunk():
                if passed := observer.take(chunk):
                    await self._body(passed)
        except aiohttp.ClientError:
            await self._body(observer.broke())
            raise
        await self._body(observer.end(), more=False)

    async def _body(self, body: bytes, *, more: bool = True) -> None:
        if body or not more:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})
