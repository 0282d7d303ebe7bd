"""Whether a request comes from where it may: the Host it names, and the page that sent it. Pure.

A browser sends the user's cookie, or reaches the user's loopback, for any page on the web. Two
things give such requests away: `Host` (a name that was made to point at loopback is not ours: DNS
rebinding), and `Origin` or `Sec-Fetch-Site` (a page elsewhere can't forge them).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from autotuner.config.listen import ListenConfig
from autotuner.fronts.loopback import is_loopback

ACTING_HEADER = "x-autotuner"  # a page elsewhere can't send it without asking first, in vain
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def host_names(listen: ListenConfig) -> Collection[str] | None:
    """The names that a Host header may have; None for any."""
    if listen.beyond_loopback:
        return frozenset(map(str.lower, listen.hosts)) or None
    return _LOOPBACK_NAMES | {listen.host.lower()} | set(map(str.lower, listen.hosts))


def host_of(header: str) -> str | None:
    """The name in a Host header, without its port; None for what is no host."""
    parsed = urlsplit(f"//{header}") if _plain(header) else None
    try:
        return parsed.hostname if parsed and parsed.port is not False else None
    except ValueError:
        return None


def _plain(header: str) -> bool:
    closed = header.count("[") == header.count("]") and not set(header) & set("/?#@\\ ")
    return bool(header) and header.isascii() and header.isprintable() and closed


def may_name(header: str, names: Collection[str] | None) -> bool:
    """Whether a request may have this Host header."""
    if names is None:
        return True
    name = host_of(header)
    return name is not None and (name in names or _numeric_loopback(name, names))


def _numeric_loopback(name: str, names: Collection[str]) -> bool:
    """127.0.0.2 and its like can't be had by rebinding: they are no names."""
    return "127.0.0.1" in names and is_loopback(name)


def foreign(headers: Mapping[str, str]) -> str | None:
    """Why a request that acts may come from a foreign page; None where it can't.

    `headers` by lower-case name. Where a browser tells neither Origin nor Sec-Fetch-Site, and for
    clients that are none, the header `X-Autotuner` (any value) is needed.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return f"it was sent by a page elsewhere (Sec-Fetch-Site: {site})"
    if origin is not None and not _same(origin, headers.get("host", "")):
        return "it was sent by a page elsewhere (Origin is not this host)"
    if site is None and origin is None and ACTING_HEADER not in headers:
        return "give the header `X-Autotuner: 1`, which a page elsewhere can't send"
    return None


def _same(origin: str, host: str) -> bool:
    """A proxy that ends TLS leaves the scheme unknown here, so the host and port decide."""
    scheme, _, rest = origin.partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    if default is None or not host:
        return False
    return rest.lower().removesuffix(default) == host.lower().removesuffix(default)
