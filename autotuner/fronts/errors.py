"""Refusals and failures in the shape that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """An answer other than 200; `param` is the field at fault, if one is."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """`{"error": {"message", "type", "param", "code"}}`."""
        return error_body(self.status, self.message, param=self.param, code=self.code)


def error_body(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object; its type follows from the status."""
    error = {"message": message, "type": _error_type(status), "param": param, "code": code}
    return {"error": error}


def invalid(param: str, value: object, fix: str) -> ApiError:
    """400 that names the field, the value and the fix."""
    return ApiError(400, f"{param}={_short(value)}: {fix}", param=param, code="invalid_value")


def too_large(limit_bytes: int) -> ApiError:
    """413 that ends the connection: what is still to come of the body is not read."""
    return ApiError(
        413,
        f"body: larger than {limit_bytes} bytes: send less",
        param="body",
        code="body_too_large",
        headers={"Connection": "close"},
    )


def overloaded(message: str, retry_after_s: int) -> ApiError:
    """503 that tells when to come back."""
    headers = {"Retry-After": str(retry_after_s)}
    return ApiError(503, message, code="overloaded", headers=headers)


def engine_gone(reason: str) -> ApiError:
    """503 while there is no engine: it loads, or it failed and is being restarted."""
    return ApiError(503, reason, code="engine_unavailable", headers={"Retry-After": "5"})


def _error_type(status: int) -> str:
    if status == 401:
        return "authentication_error"
    if status == 403:
        return "permission_error"
    return "invalid_request_error" if status < 500 else "server_error"


def _short(value: object, limit: int = 100) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
