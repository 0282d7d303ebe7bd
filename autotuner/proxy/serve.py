"""Runs a proxy: listens, serves until it is told to end, lets running requests finish."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any, Protocol

import structlog
import uvicorn

from autotuner.domain.errors import ConfigError
from autotuner.fronts.loopback import is_loopback
from autotuner.proxy.app import ProxyApp, make_app
from autotuner.proxy.config import ProxyConfig, ProxyListen, options_of
from autotuner.proxy.draining import ENDING, DrainingServer, LastAnswers
from autotuner.proxy.engines import engines_of_config
from autotuner.proxy.fixed import FixedEngines
from autotuner.proxy.listener import BACKLOG, listener
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import Engines, InFlight
from autotuner.proxy.reload import Follower, Reloader

log = structlog.get_logger()

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that they close them first
SIGN_OF_LIFE_S = 5  # chosen: well below a service manager's patience
_LET_GO_S = 3.0  # chosen: for a server of our own to be ended, when all must end at once


class Told(Protocol):
    """The service manager."""

    def ready(self, status: str) -> None: ...
    def reloading(self) -> None: ...
    def stopping(self, status: str) -> None: ...
    def status(self, status: str, *, alive: bool) -> None: ...


def serve(
    config: ProxyConfig,
    told: Told,
    read: Callable[[], ProxyConfig] | None = None,
    follower: Follower | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT. SIGHUP takes over what `read` reads; `follower` hears of it.

    Raises ConfigError where files can't be used or the address can't be had.
    """
    options = options_of(config)
    # Until the loop listens to it, a reload that comes too early must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    accepting, handed_over = listener(config.listen.host, config.listen.port)
    with accepting:
        _check_open(accepting, options)
        engines: list[Engines] = []
        token = options.upstream_token
        app = make_app(
            options, lambda in_flight: _kept(engines, _engines(config, token, in_flight))
        )
        servers = engines[0] if isinstance(engines[0], FixedEngines) else None
        followers = [] if follower is None else [follower]
        reloader = Reloader(config, read or (lambda: config), app, servers, followers)
        asyncio.run(_Run(app, engines[0], reloader, told, accepting, handed_over).run())


class _Run:
    """One life of the server, inside its event loop."""

    def __init__(
        self,
        app: ProxyApp,
        engines: Engines,
        reloader: Reloader,
        told: Told,
        accepting: socket.socket,
        handed_over: bool,
    ) -> None:
        self.engines, self.reloader, self.told = engines, reloader, told
        self.accepting, self.handed_over = accepting, handed_over
        answers = LastAnswers(app)
        self.tls = _uvicorn(answers, reloader.config.listen, self._alive)
        self.server = DrainingServer(self.tls, answers, reloader.config.drain_s, self._stopping)
        reloader.followers.append(self._follow)

    async def run(self) -> None:
        # uvicorn raises the signals that ended it once more when it is done; what follows here
        # must still be done then, so they end nothing.
        for number in ENDING:
            signal.signal(number, self.server.handle_exit)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        # A full garbage collection stops every stream: much less without what lives for good.
        gc.collect()
        gc.freeze()
        _tell_listening(self.accepting)
        log.info("proxy.listening", **self._where(), handed_over=self.handed_over)
        self.told.ready(self._status())
        await self.server.serve(sockets=[self.accepting])
        if self.server.force_exit:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.engines.close(), _LET_GO_S)
        log.info("proxy.ended", cut_off=self.server.cut_off)

    def _reload(self) -> None:
        self.told.reloading()
        self.reloader.reload()
        self.told.ready(self._status())

    def _follow(self, config: ProxyConfig) -> None:
        self.server.drain_s = config.drain_s
        listen = config.listen
        if self.tls.ssl is None or listen.tls_cert is None:
            return
        try:  # a renewed certificate, for connections from now on; a bad one leaves the old
            self.tls.ssl.load_cert_chain(listen.tls_cert, listen.tls_key, str)
        except (OSError, ssl.SSLError) as problem:
            log.error("listen.tls_cert", problem=f"not read again: {problem}")

    def _stopping(self) -> None:
        log.info("proxy.draining", in_flight=self.server.in_flight, drain_s=self.server.drain_s)
        self.told.stopping(f"{self.server.in_flight} requests are finishing")

    async def _alive(self) -> None:
        self.told.status(self._status(), alive=True)

    def _status(self) -> str:
        outage = self.engines.outage()
        return outage or f"serving; {self.server.in_flight} requests are running"

    def _where(self) -> dict[str, Any]:
        host, port = self.accepting.getsockname()[:2]
        return {"host": host, "port": port}


def _check_open(accepting: socket.socket, options: ProxyOptions) -> None:
    """The address that counts is the socket's, which a service manager may have chosen."""
    host = accepting.getsockname()[0]
    if options.admin_token is None and not is_loopback(host):
        raise ConfigError(
            f"the socket handed over is at {host!r}, which other machines reach, and they could "
            "change the settings: give listen.admin_token_file, or ListenStream=127.0.0.1:PORT"
        )


def _engines(config: ProxyConfig, token: str | None, in_flight: InFlight) -> Engines:
    if config.engine is not None:
        return engines_of_config(config.engine, token)(in_flight)
    return FixedEngines([one.backend for one in config.backends])


def _kept(kept: list[Engines], made: Engines) -> Engines:
    kept.append(made)
    return made


def _uvicorn(app: LastAnswers, listen: ProxyListen, alive: Callable[[], Any]) -> uvicorn.Config:
    """Raises ConfigError for a certificate that can't be used."""
    tls: dict[str, Any] = {}
    if listen.tls_cert is not None:
        # An empty password keeps a key that has one from asking for it at the terminal.
        tls = {
            "ssl_certfile": str(listen.tls_cert),
            "ssl_keyfile": str(listen.tls_key),
            "ssl_keyfile_password": "",
        }
    config = uvicorn.Config(
        app, lifespan="on", log_config=None, access_log=False, proxy_headers=False,
        server_header=False, date_header=False, ws="none", timeout_keep_alive=KEEP_ALIVE_S,
        backlog=BACKLOG, callback_notify=alive, timeout_notify=SIGN_OF_LIFE_S, **tls,
    )  # fmt: skip
    try:
        config.load()
    except (OSError, ssl.SSLError) as problem:
        raise ConfigError(
            f"listen.tls_cert={str(listen.tls_cert)!r}, tls_key={str(listen.tls_key)!r}: can't be "
            f"used ({problem}); give PEM files that belong together, the key without a password"
        ) from problem
    return config


def _tell_listening(accepting: socket.socket) -> None:
    """One JSON line on stdout, for whoever started the proxy on a free port."""
    host, port = accepting.getsockname()[:2]
    sys.stdout.write(json.dumps({"event": "listening", "host": host, "port": port}) + "\n")
    sys.stdout.flush()
