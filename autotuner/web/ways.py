"""Where a browser is led: to paths of this daemon alone; after a login to what was asked for."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Request

_MOST_CHARACTERS = 2000  # chosen: longer than any address of ours, short enough for every proxy


def own_path(asked: str) -> str:
    """`asked` if it is a path of this daemon, else the start: nobody is led elsewhere.

    Browsers read a backslash as a slash, and drop tabs and line breaks wherever they stand.
    """
    local = asked.startswith("/") and not asked.startswith("//") and "\\" not in asked
    return asked if local and asked.isprintable() and len(asked) <= _MOST_CHARACTERS else "/"


def here(request: Request) -> str:
    """The address of the page that is looked at, without host, as the browser sent it."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    path = raw.partition(b"?")[0].decode("ascii", "backslashreplace")
    return f"{path}?{request.url.query}" if request.url.query else path


def login_for(request: Request) -> str:
    """The login that leads back to what `request` asked for; what acts is asked for anew."""
    return login_path(here(request) if request.method == "GET" else "/")


def login_path(back: str, *, failed: bool = False) -> str:
    """The login's address. `back`: where it leads to; `failed`: it has just been tried in vain."""
    back = own_path(back)
    words = ({"failed": "1"} if failed else {}) | ({"back": back} if back != "/" else {})
    return f"/login?{urlencode(words)}" if words else "/login"
