"""The admin routes: settings in force, their change, and the two logs read by cursor."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from autotuner.worker.admin_guard import AdminGuard
from autotuner.worker.cursor import MAX_PAGE_RECORDS, After, Limit, stamp
from autotuner.worker.errors import ApiError, engine_gone
from autotuner.worker.exposures import page_body
from autotuner.worker.http_io import read_body
from autotuner.worker.live_settings import NotAppliedError, StaleGenerationError
from autotuner.worker.openai_schema import parse
from autotuner.worker.settings import REBUILD_KNOBS, InvalidSettingError, Limits, capabilities
from autotuner.worker.worker import Worker

log = logging.getLogger(__name__)


class SettingsChange(BaseModel):
    """The body of `PUT /admin/settings`. A misspelt field is refused: it would change nothing."""

    model_config = ConfigDict(strict=True, extra="forbid")

    generation: int
    boot_id: str | None = None
    settings: dict[str, Any]
    reason: str | None = Field(None, max_length=1000)


def admin_routes(worker: Worker) -> APIRouter:
    """The routes for whoever holds the token, or for this machine alone while there is none."""
    guard = AdminGuard(worker.options.admin_token)
    router = APIRouter(prefix="/admin", dependencies=[Depends(guard)])

    @router.get("/settings")
    async def get_settings() -> Response:
        return JSONResponse(_settings_body(worker, _limits(worker)))

    @router.put("/settings")
    async def put_settings(request: Request) -> Response:
        limits = _limits(worker)
        raw = await read_body(request, worker.options.max_body_bytes)
        try:
            change = parse(SettingsChange, raw)
        except ApiError as error:
            return _invalid(error.param, None, error.message)
        return await _change(worker, limits, change)

    @router.get("/exposures")
    async def exposures(after: After = 0, limit: Limit = MAX_PAGE_RECORDS) -> Response:
        page = worker.front.exposures.read(after, min(limit, MAX_PAGE_RECORDS))
        in_flight = worker.front.in_flight_by_generation()
        return JSONResponse(stamp(worker) | {"in_flight": in_flight} | page_body(page, "exposures"))

    @router.get("/steps")
    async def steps(after: After = 0, limit: Limit = MAX_PAGE_RECORDS) -> Response:
        page = worker.front.steps.read(after, min(limit, MAX_PAGE_RECORDS))
        return JSONResponse(stamp(worker) | page_body(page, "steps"))

    return router


def _limits(worker: Worker) -> Limits:
    if worker.limits is None:
        raise engine_gone(worker.front.outage or "the engine is loading")
    return worker.limits


async def _change(worker: Worker, limits: Limits, change: SettingsChange) -> Response:
    # New engines may cure what keeps the old ones down; a live change can't.
    if worker.front.outage is not None and not REBUILD_KNOBS.intersection(change.settings):
        raise engine_gone(worker.front.outage)
    try:
        in_force = await worker.settings.change(
            change.settings, limits, generation=change.generation, boot_id=change.boot_id
        )
    except StaleGenerationError:
        return _stale(worker)
    except InvalidSettingError as error:
        return _invalid(error.field, error.value, str(error))
    except NotAppliedError as error:
        raise ApiError(503, str(error), code="not_applied") from error
    log.info("settings generation %d, reason %r", in_force.generation, change.reason)
    return JSONResponse(_settings_body(worker, limits))


def _settings_body(worker: Worker, limits: Limits) -> dict[str, Any]:
    in_force, rebuilding = worker.settings.in_force, worker.settings.rebuilding
    return stamp(worker) | {
        "generation": in_force.generation,
        "applied_at": in_force.applied_at,
        "model": worker.model_name,
        "settings": asdict(in_force.settings),
        "rebuilding": None if rebuilding is None else asdict(rebuilding),
        "capabilities": capabilities(limits),
    }


def _stale(worker: Worker) -> Response:
    now = worker.settings
    error = {
        "type": "stale_generation",
        "message": f"generation {now.in_force.generation} of boot {now.boot_id} is in force: "
        "read the settings again",
        "generation": now.in_force.generation,
        "boot_id": now.boot_id,
    }
    return JSONResponse({"error": error}, status_code=409)


def _invalid(field: str | None, value: object, message: str) -> Response:
    error = {"type": "invalid_setting", "field": field, "value": value, "message": message}
    return JSONResponse({"error": error}, status_code=422)
