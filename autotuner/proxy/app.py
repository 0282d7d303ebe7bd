"""The proxy as one ASGI application: its own routes, and everything else passed to the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from autotuner.proxy.admin import ProxyAdmin
from autotuner.proxy.forward import Forwarder
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import EngineFailedError, Engines, InFlight
from autotuner.proxy.routes import is_own, own_app
from autotuner.proxy.state import SettingsState
from autotuner.proxy.traffic import Clocks, Traffic
from autotuner.proxy.upstream import Upstream

log = logging.getLogger(__name__)

# The engines are made with what they may know and hold of the requests: restarts in place need it.
EnginesOf = Callable[[InFlight], Engines]

_FIRST_WAIT_S, _MOST_WAIT_S = 2.0, 60.0  # chosen: between tries to start the server


class ProxyApp:
    """Serve it with `lifespan="on"`: its start-up starts the engines in the background (/health
    says 503 until they serve), its shutdown ends them.
    """

    def __init__(self, traffic: Traffic, engines: Engines) -> None:
        self._traffic, self._engines = traffic, engines
        self._upstream = Upstream(traffic.pool, lambda: traffic.options)
        self._state = SettingsState(traffic, engines)
        admin = ProxyAdmin(self._state, traffic, engines)
        self._own = own_app(traffic, engines, admin, self._upstream)
        self._forward = Forwarder(traffic, engines, self._upstream)
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            handler = self._own if is_own(scope["path"]) else self._forward
            await handler(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    def reload(self, options: ProxyOptions) -> None:
        """Takes over what may change while it runs: backends, weights, usage, tokens for the
        server and times. A first value of a live knob acts where it differs from the last one.
        """
        old, self._traffic.options = self._traffic.options, options
        self._traffic.pool.reweigh(options.weights)
        self._state.reload(old, options)

    async def start(self) -> None:
        """What start-up does; for whoever runs it without lifespan."""
        await self._upstream.open()
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._state.close()
        await self._engines.close()
        await self._upstream.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _run(self) -> None:
        await self._start_engines()
        self._state.begin()
        while True:
            try:
                await self._engines.watch(self._state.on_event)
            except Exception:
                log.exception("watching the server failed: begun again")
            await asyncio.sleep(1.0)

    async def _start_engines(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                await self._engines.start()
            except EngineFailedError as error:
                log.error("the server did not start (%s): %s", error.fault.value, error.message)
            except Exception:
                log.exception("the server did not start")
            else:
                return
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _MOST_WAIT_S)


def make_app(options: ProxyOptions, engines_of: EnginesOf) -> ProxyApp:
    """The application of one proxy; it starts nothing before its lifespan begins."""
    traffic = Traffic(options, (), Clocks())
    return ProxyApp(traffic, engines_of(traffic))
