"""What a browser sends to the pages: forms, and the theme's cookie."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from fastapi import Request

from autotuner.web.problems import RequestError

THEME_COOKIE = "autotuner-theme"
THEMES = ("light", "dark")
_MOST_BYTES = 16 * 1024  # chosen: more than any form here can hold
_MOST_FIELDS = 20


class TooLargeError(RequestError):
    """A form that none of ours can be."""

    status = 413


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form, the last of each name; raises RequestError for what is none."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise TooLargeError("body", f"{len(body)} bytes", f"give at most {_MOST_BYTES}")
    try:
        found = parse_qs(
            body.decode(), keep_blank_values=True, strict_parsing=False, max_num_fields=_MOST_FIELDS
        )
    except ValueError as problem:
        raise RequestError("body", str(problem), "send the form as a browser does") from problem
    return {name: values[-1].strip() for name, values in found.items()}


def theme_of(request: Request) -> str:
    """The theme that was chosen; empty: the system's."""
    kept = request.cookies.get(THEME_COOKIE, "")
    return kept if kept in THEMES else ""
