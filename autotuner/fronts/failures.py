"""Every failure of an HTTP front in the shape that OpenAI's clients read."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from autotuner.fronts.errors import ApiError, error_body


def bare_app() -> FastAPI:
    """An application without routes, whose failures are OpenAI's error bodies."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _query_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse(
        error_body(error.status_code, message), status_code=error.status_code, headers=error.headers
    )


async def _query_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    message = f"{field}={first.get('input')!r}: {first['msg']}"
    return JSONResponse(error_body(422, message, param=field), status_code=422)


async def _unexpected(_: Request, __: Exception) -> Response:
    """The server logs the traceback; the client gets none."""
    message = "internal error: the server's log has the cause"
    return JSONResponse(error_body(500, message), status_code=500)
