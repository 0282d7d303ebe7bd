"""An HTTP server that ends without cutting a request off; knows neither proxy nor configuration.

uvicorn's own end closes a connection that is idle at that moment, though its client may have
begun to send. Here connections are not accepted any more, those that there are get
`Connection: close` with their next answer, and the idle rest is closed once all is quiet.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

QUIET_S = 1.0  # chosen: how long no request must have run before idle connections are closed
_LOOK_S = 0.02
_CUT_S = 1  # what uvicorn gives to what is cut off
_CLOSE = (b"connection", b"close")


class LastAnswers:
    """Lets requests through; once `ending`, each answer says that its connection ends with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.ending = app, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", []) if pair[0] != b"connection"]
                message = {**message, "headers": [*kept, _CLOSE]}
            await send(message)

        await self.app(scope, receive, send_last if self.ending else send)


class DrainingServer(uvicorn.Server):
    """Ends at the first SIGTERM or SIGINT within `drain_s`; at the second one at once."""

    def __init__(
        self,
        config: uvicorn.Config,
        answers: LastAnswers,
        drain_s: float,
        on_stopping: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self.config.timeout_graceful_shutdown = _CUT_S
        self.drain_s = drain_s
        self.cut_off = 0  # requests that had not ended when their time was over
        self._answers, self._on_stopping = answers, on_stopping

    @property
    def in_flight(self) -> int:
        return len(self.server_state.tasks)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.force_exit or self.should_exit
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._answers.ending = True
        self._on_stopping()
        for server in self.servers:
            server.close()
        for accepting in sockets or []:
            accepting.close()
        await self._drained()
        self.cut_off = self.in_flight
        await super().shutdown(sockets)

    async def _drained(self) -> None:
        """Returns when connections are gone or quiet, the time is over, or a signal says so."""
        end = time.monotonic() + self.drain_s
        busy_at = time.monotonic()
        while self.server_state.connections and not self.force_exit:
            now = time.monotonic()
            if self.in_flight:
                busy_at = now
            if now - busy_at >= QUIET_S or now >= end:
                return
            await asyncio.sleep(_LOOK_S)


ENDING = (signal.SIGINT, signal.SIGTERM)
