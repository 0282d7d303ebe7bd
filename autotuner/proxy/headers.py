"""Which headers pass through a proxy: all but those of one hop (RFC 9110, section 7.6.1). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Pairs = Sequence[tuple[bytes, bytes]]

_ONE_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
# The client library writes these for the body and the address that it really sends to.
_REWRITTEN = frozenset({b"host", b"content-length", b"expect"})


def to_server(
    pairs: Pairs, client: str | None, *, observed: bool, token: str | None
) -> list[tuple[str, str]]:
    """A request's headers as the server gets them.

    An `observed` answer must come uncompressed, or nothing could be read from it. The client's
    address is told, as it is by every proxy: a server that trusts its own machine alone must not
    take this one for the client. `token` stands in where the client brought no Authorization.
    """
    dropped = _one_hop(pairs) | _REWRITTEN | ({b"accept-encoding"} if observed else frozenset())
    kept = [(_text(k), _text(v)) for k, v in pairs if k.lower() not in dropped]
    names = {name.lower() for name, _ in kept}
    if token is not None and "authorization" not in names:
        kept.append(("Authorization", f"Bearer {token}"))
    if client is not None:
        kept.append(("X-Forwarded-For", client))
    return kept


def to_client(pairs: Iterable[tuple[bytes, bytes]], *, resized: bool) -> list[tuple[bytes, bytes]]:
    """An answer's headers as the client gets them; of a `resized` body the length is not known."""
    pairs = list(pairs)
    dropped = _one_hop(pairs) | ({b"content-length"} if resized else frozenset())
    return [(name.lower(), value) for name, value in pairs if name.lower() not in dropped]


def _one_hop(pairs: Pairs) -> frozenset[bytes]:
    """Those that always are, and those that Connection names."""
    named = (value.split(b",") for name, value in pairs if name.lower() == b"connection")
    return _ONE_HOP | {part.strip().lower() for parts in named for part in parts}


def _text(value: bytes) -> str:
    # As the client library encodes them again: UTF-8 survives, other bytes beyond ASCII do not.
    return value.decode("utf-8", "surrogateescape")
