"""Opaque cursors: where a list goes on, in words that clients only hand back."""

from __future__ import annotations

import base64
import binascii

from autotuner.web.problems import RequestError

_LARGEST_ID = 2**63 - 1  # what a database's integer holds
_FIX = "give a cursor as `next` of the page before told it, or none for the first page"


def cursor_of(last: str | int) -> str:
    """The cursor of the page that begins after the row with id `last`."""
    return base64.urlsafe_b64encode(str(last).encode()).decode().rstrip("=")


def id_before(cursor: str | None) -> str | None:
    """The id that `cursor` stands for; raises RequestError for what is none of ours."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as problem:
        raise RequestError("cursor", cursor, _FIX) from problem
    if not text or not text.isprintable():
        raise RequestError("cursor", cursor, _FIX)
    return text


def number_before(cursor: str | None) -> int | None:
    """The same for rows whose ids are numbers."""
    text = id_before(cursor)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _LARGEST_ID):
        raise RequestError("cursor", cursor, _FIX)
    return int(text)
