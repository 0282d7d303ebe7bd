"""What the daemon may read of the pipeline: the requests' features, by cursor."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response

from autotuner.fronts.admin import Guard
from autotuner.fronts.cursor import MAX_PAGE_RECORDS, After, Limit, stamp
from autotuner.worker.worker import Worker


def feature_routes(worker: Worker, guard: Guard) -> APIRouter:
    """`GET /admin/features`, for whoever may call the admin API."""
    router = APIRouter(prefix="/admin", dependencies=[Depends(guard)])

    @router.get("/features")
    async def features(after: After = 0, limit: Limit = MAX_PAGE_RECORDS) -> Response:
        page = worker.pipeline.features.page(after, min(limit, MAX_PAGE_RECORDS))
        return JSONResponse(stamp(worker.boot_id, worker.front.clocks.wall()) | page)

    return router
