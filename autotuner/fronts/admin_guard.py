"""Who may call the admin routes: the token's holder, or this machine alone while there is none."""

from __future__ import annotations

import hmac

from fastapi import Request

from autotuner.fronts.errors import ApiError
from autotuner.fronts.loopback import is_loopback


class AdminGuard:
    """Lets a request through or raises ApiError 401 (no or a wrong token) or 403 (from outside)."""

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, request: Request) -> None:
        if self._expected is None:
            _check_local(request)
            return
        given = request.headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._expected):
            raise ApiError(
                401,
                "authorization: give the admin token: `Authorization: Bearer TOKEN`",
                param="authorization",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _check_local(request: Request) -> None:
    """A proxy on this machine makes every client look local, so forwarded requests don't pass."""
    forwarded = "forwarded" in request.headers or "x-forwarded-for" in request.headers
    if forwarded or request.client is None or not is_loopback(request.client.host):
        raise ApiError(403, "the admin API is for this machine alone: start it with a token")
