"""What the daemon may read of the pipeline: the requests' features, by cursor."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from autotuner.worker.admin_guard import AdminGuard
from autotuner.worker.worker import Worker

MAX_PAGE_RECORDS = 1000  # as the other logs: a longer page would hold up every stream


def feature_routes(worker: Worker) -> APIRouter:
    """`GET /admin/features`, for whoever may call the admin API."""
    router = APIRouter(
        prefix="/admin", dependencies=[Depends(AdminGuard(worker.options.admin_token))]
    )

    @router.get("/features")
    async def features(
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1)] = MAX_PAGE_RECORDS,
    ) -> Response:
        stamp = {"boot_id": worker.boot_id, "now": worker.front.clocks.wall()}
        page = worker.pipeline.features.page(after, min(limit, MAX_PAGE_RECORDS))
        return JSONResponse(stamp | page)

    return router
