"""The HTTP application: all routes of a worker."""

from __future__ import annotations

from fastapi import FastAPI

from autotuner.fronts.admin import admin_routes
from autotuner.fronts.admin_guard import AdminGuard
from autotuner.fronts.failures import bare_app
from autotuner.fronts.feedback_routes import feedback_routes
from autotuner.worker.admin import WorkerAdmin
from autotuner.worker.admin_probe import probe_routes
from autotuner.worker.api import public_routes
from autotuner.worker.pipeline.routes import feature_routes
from autotuner.worker.worker import Worker


def make_app(worker: Worker) -> FastAPI:
    """The application of a worker; it neither starts nor stops it."""
    guard, admin = AdminGuard(worker.options.admin_token), WorkerAdmin(worker)
    app = bare_app()
    app.include_router(public_routes(worker))
    app.include_router(admin_routes(admin, guard, worker.options.max_body_bytes))
    app.include_router(feature_routes(worker, guard))
    app.include_router(feedback_routes(worker.feedback, admin, guard))
    app.include_router(probe_routes(worker.probe, guard))
    return app
