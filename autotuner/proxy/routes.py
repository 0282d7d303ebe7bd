"""The proxy's own routes: admin, feedback, /metrics and /health."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response

from autotuner.fronts.admin import admin_routes
from autotuner.fronts.admin_guard import AdminGuard
from autotuner.fronts.failures import bare_app
from autotuner.fronts.feedback_routes import feedback_routes
from autotuner.proxy.admin import ProxyAdmin
from autotuner.proxy.backend_page import fetch, own_families
from autotuner.proxy.ports import Engines
from autotuner.proxy.traffic import Traffic
from autotuner.proxy.upstream import Upstream

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_ADMIN_BODY_BYTES = 2**20


def is_own(path: str) -> bool:
    """Whether the proxy answers itself; every other path is the server's."""
    return path in ("/metrics", "/health", "/v1/feedback") or path.startswith("/admin/")


def own_app(traffic: Traffic, engines: Engines, admin: ProxyAdmin, upstream: Upstream) -> FastAPI:
    guard = AdminGuard(traffic.options.admin_token)
    app = bare_app()
    app.include_router(admin_routes(admin, guard, MAX_ADMIN_BODY_BYTES))
    app.include_router(feedback_routes(traffic.feedback, admin, guard))
    app.include_router(_watching_routes(traffic, engines, admin, upstream))
    return app


def _watching_routes(
    traffic: Traffic, engines: Engines, admin: ProxyAdmin, upstream: Upstream
) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> Response:
        reason = engines.outage() or (None if admin.ready else "the server is starting")
        if reason is None:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable", "reason": reason}, status_code=503)

    @router.get("/metrics")
    async def metrics() -> Response:
        backends, timeout_s = traffic.pool.backends, traffic.options.metrics_timeout_s
        pages = await asyncio.gather(
            *(fetch(upstream.session, backend, timeout_s) for backend in backends)
        )
        up = {backend.name: page is not None for backend, page in zip(backends, pages, strict=True)}
        traffic.metrics.backends(up)
        # Several servers' families would be one family with several values: ask those servers.
        theirs = own_families(pages[0] or "") if len(pages) == 1 else ""
        return Response(traffic.metrics.text() + theirs.encode(), media_type=METRICS_TYPE)

    return router
