"""What every answer and every request passes: the Host's name, a body's size, security headers."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotuner.web.alerts_in import PATH as ALERTS_PATH
from autotuner.web.origin import may_name
from autotuner.web.problems import shown

MAX_BODY_BYTES = 64 * 2**10  # chosen: no wish is longer
# No inline script or style: text that slips into a page unescaped still can't run.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_YEAR_S = 365 * 86400


class Shell:
    """Around the whole application. `names`: of Host headers that are let in; None for any."""

    def __init__(self, app: ASGIApp, names: Collection[str] | None, *, tls: bool = False) -> None:
        self._app, self._names = app, names
        strict = {"Strict-Transport-Security": f"max-age={_YEAR_S}"} if tls else {}
        self._headers = _HEADERS | strict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; what is no HTTP passes by."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        dressed = self._dressed(send)
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not may_name(host, self._names):
            await _refused(421, "host", host, "not a name of this daemon: add it to listen.hosts")(
                scope, receive, dressed
            )
        elif scope["path"] == ALERTS_PATH:  # has a limit of its own
            await self._app(scope, receive, dressed)
        elif _length(headers) > MAX_BODY_BYTES:
            await _refused(413, "body", _length(headers), _TOO_LARGE)(scope, receive, dressed)
        else:
            await self._app(scope, _limited(receive), dressed)

    def _dressed(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return sent


_TOO_LARGE = f"larger than {MAX_BODY_BYTES} bytes: send less"


def _limited(receive: Receive) -> Receive:
    taken = 0

    async def received() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise HTTPException(413, f"body: {_TOO_LARGE}")
        return message

    return received


def _length(headers: Headers) -> int:
    """What the request says of its body; 0 where it says nothing that can be read."""
    said = headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else 0


def _refused(status: int, field: str, value: object, fix: str) -> JSONResponse:
    problem = {"field": field, "value": shown(value), "fix": fix}
    text = f"{field}={problem['value']}: {fix}"
    return JSONResponse({"error": text, "problems": [problem]}, status)
