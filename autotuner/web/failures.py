"""Every failure as JSON: `error` in a sentence, and each problem with field, value and fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from autotuner.domain.errors import HistoryError
from autotuner.web.guard import LoginNeededError, TooOftenError
from autotuner.web.problems import Problem, RequestError, shown
from autotuner.web.ways import login_for

log = structlog.get_logger()


class ProblemBody(BaseModel):
    """One thing to mend."""

    field: str
    value: str
    fix: str


class ErrorBody(BaseModel):
    """Why a request was not served."""

    error: str = Field(examples=["target='chatt': unknown; there is chat"])
    problems: list[ProblemBody] = []


def handle_failures(app: FastAPI) -> None:
    """From now on every failure of `app` is answered in one shape."""
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(HistoryError, _history_error)
    app.add_exception_handler(Exception, _unexpected)


async def _request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    if isinstance(error, LoginNeededError):
        return RedirectResponse(login_for(request), error.status)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if isinstance(error, TooOftenError):
        headers["Retry-After"] = str(error.wait_s)
    return _body(error.status, str(error), [error.problem], headers)


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_problem(one) for one in error.errors()[:20]]
    return _body(422, "; ".join(f"{p.field}={p.value}: {p.fix}" for p in problems), problems)


def _problem(error: Any) -> Problem:
    # The first part says where it stands (body, query, path), which the name tells already.
    field = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
    fix = str(error["msg"]).removeprefix("Value error, ")
    return Problem(_ascii(field), shown(error.get("input")), _ascii(fix))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = shown(request.url.path)
    problem = Problem("path", path, str(error.detail))
    text = f"{request.method} {path}: {error.detail}"
    return _body(error.status_code, text, [problem], dict(error.headers or {}))


async def _history_error(_: Request, error: Exception) -> Response:
    log.error("web.history", problem=str(error))
    return _body(503, str(error), [Problem("history", "", "try again when its database is back")])


async def _unexpected(_: Request, __: Exception) -> Response:
    """The server logs the traceback; the client gets none."""
    return _body(500, "internal error: the daemon's log has the cause", [])


def _body(
    status: int,
    text: str,
    problems: Sequence[Problem],
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    return JSONResponse(
        {"error": text, "problems": [asdict(one) for one in problems]}, status, headers
    )


def _ascii(text: str) -> str:
    """Names that a client chose may hold what no JSON can: half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode()[:200]
