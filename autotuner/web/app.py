"""The daemon's own HTTP: /health for supervisors, /metrics for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

HealthCheck = Callable[[], tuple[bool, Mapping[str, Any]]]


def create_app(
    registry: CollectorRegistry, health: HealthCheck, routers: Sequence[APIRouter] = ()
) -> FastAPI:
    """`health` tells whether all is well (200) or not (503), and what to show."""
    app = FastAPI(title="autotuner", docs_url=None, redoc_url=None)

    @app.get("/health")
    def show_health() -> JSONResponse:
        well, details = health()
        return JSONResponse(
            {"status": "ok" if well else "failing", **details}, 200 if well else 503
        )

    @app.get("/metrics")
    def show_metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    for router in routers:
        app.include_router(router)
    return app


class WebServer:
    """Serves the app from a thread of its own until `stop`."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
