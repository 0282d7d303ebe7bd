"""`POST /admin/probe`: the quality of the live settings, on request."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict

from autotuner.fronts.admin import Guard
from autotuner.fronts.bodies import parse
from autotuner.fronts.http_io import read_body
from autotuner.worker.probe.service import Probe

MAX_BODY_BYTES = 4096


class ProbeBody(BaseModel):
    """How many of the golden items, all by default, and from which on (0 is the first)."""

    model_config = ConfigDict(strict=True, extra="forbid")

    items: int | None = None
    first: int = 0


def probe_routes(probe: Probe, guard: Guard) -> APIRouter:
    """The route, for whom `guard` lets through (it raises ApiError otherwise)."""
    router = APIRouter(prefix="/admin", dependencies=[Depends(guard)])

    @router.post("/probe")
    async def run_probe(request: Request) -> Response:
        raw = await read_body(request, MAX_BODY_BYTES)
        body = parse(ProbeBody, raw) if raw.strip() else ProbeBody()
        return JSONResponse(asdict(await probe.run(body.items, body.first)))

    return router
