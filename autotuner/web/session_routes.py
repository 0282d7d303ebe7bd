"""`POST /login` and `POST /logout`: from a token to a session's cookie, and back.

A form (as the page has it) is answered by a redirect, to the page that it came from where the form
has its path as `back`; JSON by a status.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from autotuner.web.guard import Guard, TokenNeededError
from autotuner.web.problems import ConflictError, RequestError
from autotuner.web.ways import login_path, own_path

_FORM = "application/x-www-form-urlencoded"


def session_routes(guard: Guard) -> APIRouter:
    """The two routes; where no tokens are configured there is nothing to log in with (409)."""
    router = APIRouter(include_in_schema=False)

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        if not guard.asks_for_tokens:
            raise ConflictError("token", "", "none is needed: listen.tokens_file is not set")
        token, back = await _token(request)
        answer = (
            Response(status_code=204) if back is None else RedirectResponse(own_path(back), 303)
        )
        try:
            guard.log_in(request, token, answer)
        except TokenNeededError:
            if back is None:
                raise
            return RedirectResponse(login_path(back, failed=True), 303)
        return answer

    @router.post("/logout")
    async def log_out(request: Request) -> Response:
        form = request.headers.get("content-type", "").startswith(_FORM)
        answer: Response = RedirectResponse("/login", 303) if form else Response(status_code=204)
        guard.log_out(request, answer)
        return answer

    return router


async def _token(request: Request) -> tuple[str, str | None]:
    """The token in the body, and where a form leads to; None: no form sent it.

    Raises RequestError, and tells nothing.
    """
    kind, body = request.headers.get("content-type", ""), await request.body()
    try:
        if kind.startswith(_FORM):
            fields = parse_qs(body.decode(), max_num_fields=10)
            return fields.get("token", [""])[0].strip(), fields.get("back", ["/"])[0]
        told: Any = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise RequestError("body", "", 'give {"token": "…"}') from problem
    token = told.get("token") if isinstance(told, dict) else None
    if not isinstance(token, str):
        raise RequestError("token", "", 'give {"token": "…"}')
    return token, None
