"""The door for an Alertmanager's webhook: who may come in, and how large a body may be."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from autotuner.alerts.inbox import NotUnderstoodError
from autotuner.domain.errors import HistoryError

MAX_BODY_BYTES = 4 * 2**20  # chosen: some thousands of alerts
PATH = "/api/v1/alertmanager"

Take = Callable[[Any, float], Sequence[str]]

log = structlog.get_logger()


def alerts_in_router(take: Take, token: str) -> APIRouter:
    """`take(body, now)` gives the results that are shown. The token is the only way in.

    400 and 413 are not sent again by an Alertmanager, 503 is.
    """
    router = APIRouter()

    @router.post(PATH)
    async def take_notification(request: Request) -> JSONResponse:
        if not _may_enter(request, token):
            return _refused(401, "a bearer token is needed: the one in alerts_in.token_file")
        body = await _body(request)
        if body is None:
            return _refused(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        return await run_in_threadpool(_taken, take, body)

    return router


def _taken(take: Take, body: bytes) -> JSONResponse:
    try:
        results = take(json.loads(body), time.time())
    except (ValueError, RecursionError) as problem:
        return _refused(400, f"the body is no JSON: {problem}")
    except NotUnderstoodError as problem:
        return _refused(400, str(problem))
    except HistoryError as problem:
        log.error("alerts_in.failed", problem=str(problem))
        return _refused(503, str(problem))
    for result in results:
        log.info("alerts_in", result=result)
    return JSONResponse({"results": list(results)})


def _may_enter(request: Request, token: str) -> bool:
    shown = request.headers.get("authorization", "")
    return hmac.compare_digest(shown.encode(), f"Bearer {token}".encode())


async def _body(request: Request) -> bytes | None:
    """None where it is too large; no more than the limit is ever held."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _refused(status: int, problem: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": problem}, status, headers)
