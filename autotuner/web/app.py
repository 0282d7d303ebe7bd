"""The daemon's own HTTP: /health for supervisors, /metrics for Prometheus, and what is mounted."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from autotuner import __version__
from autotuner.config.listen import ListenConfig
from autotuner.domain.errors import ConfigError
from autotuner.web.failures import handle_failures
from autotuner.web.guard import Guard
from autotuner.web.origin import host_names
from autotuner.web.shell import Shell

log = structlog.get_logger()

HealthCheck = Callable[[], tuple[bool, Mapping[str, Any]]]
_CONNECTIONS = 200  # chosen: beyond, 503; a page takes a handful


def create_app(
    registry: CollectorRegistry,
    health: HealthCheck,
    routers: Sequence[APIRouter] = (),
    guard: Guard | None = None,
) -> FastAPI:
    """`health` tells whether all is well (200) or not (503), and what to show.

    `guard`: whose address and tokens are kept to; without one those of loopback.
    """
    guard = guard or Guard()
    app = FastAPI(
        title="autotuner",
        version=__version__,
        description="What is tuned, tested and decided, and wishes to the daemon: docs/api.md",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    handle_failures(app)

    @app.get("/health", include_in_schema=False)
    def show_health() -> JSONResponse:
        well, details = health()
        return JSONResponse(
            {"status": "ok" if well else "failing", **details}, 200 if well else 503
        )

    @app.get("/metrics", include_in_schema=False, dependencies=[Depends(guard.metrics)])
    def show_metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    for router in routers:
        app.include_router(router)
    app.add_middleware(Shell, names=host_names(guard.listen), tls=guard.listen.tls)
    return app


class WebServer:
    """Serves the app from a thread of its own until `stop`."""

    def __init__(self, app: FastAPI, host: str, port: int, listen: ListenConfig | None = None):
        """`listen`: TLS and trusted proxies. Raises ConfigError for files that can't be used."""
        told = listen or ListenConfig()
        self._host, self._port, self._listen = host, port, told
        self._config = uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, server_header=False,
            limit_concurrency=_CONNECTIONS, proxy_headers=bool(told.trusted_proxies),
            forwarded_allow_ips=list(told.trusted_proxies), **_tls(told),
        )  # fmt: skip
        try:
            self._config.load()
        except (OSError, ssl.SSLError) as problem:
            raise ConfigError(
                f"listen.tls_cert={str(told.tls_cert)!r}, tls_key={str(told.tls_key)!r}: can't be "
                f"used ({problem}); give PEM files that belong together, the key without a password"
            ) from problem
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Raises ConfigError where the address can't be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self._port), family=family)
        except OSError as problem:
            raise ConfigError(
                f"listen.host={self._host!r}, port={self._port}: can't listen there "
                f"({problem.strerror}); give a port that is free (0: any)"
            ) from problem
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        assert self._socket is not None, "not started"
        return int(self._socket.getsockname()[1])

    def renew(self) -> None:
        """Reads the certificate again, for connections from now on; a bad one leaves the old."""
        if self._config.ssl is None or self._listen.tls_cert is None:
            return
        try:
            self._config.ssl.load_cert_chain(self._listen.tls_cert, self._listen.tls_key, str)
        except (OSError, ssl.SSLError) as problem:
            log.error("listen.tls_cert", problem=f"not read again: {problem}")

    def stop(self) -> None:
        """Ends within some seconds; nothing to do where it never began."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        if self._socket is not None:
            self._socket.close()

    def _serve(self) -> None:
        assert self._socket is not None, "start makes it"
        self._server.run(sockets=[self._socket])


def _tls(listen: ListenConfig) -> dict[str, Any]:
    """An empty password keeps a key that has one from asking for it at the terminal."""
    if listen.tls_cert is None:
        return {}
    return {
        "ssl_certfile": str(listen.tls_cert),
        "ssl_keyfile": str(listen.tls_key),
        "ssl_keyfile_password": "",
    }
