"""`Content-Digest` (RFC 9530): whether a body is the one that its sender meant.

The field is a dictionary of structured fields (RFC 8941, section 3.2) whose values are byte
sequences: `sha-256=:BASE64:, sha-512=:BASE64:`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from typing import Any

from autotuner.fronts.errors import ApiError

HEADER = "Content-Digest"
# Older names of the registry (md5, sha, crc32c …) are insecure: they count as unknown.
ALGORITHMS: dict[str, Callable[[bytes], Any]] = {
    "sha-256": hashlib.sha256,
    "sha-512": hashlib.sha512,
}

# A member may have parameters (`;name=value`), which mean nothing here.
_MEMBER = re.compile(
    r"(?P<name>[a-z*][a-z0-9_.*-]*)=:(?P<digest>[A-Za-z0-9+/=]*):"
    r'(?:; *[a-z*][a-z0-9_.*-]*(?:=(?:"(?:[^"\\]|\\.)*"|[^\s,;"]+))?)*'
)
_COMMA = re.compile(r"[ \t]*,[ \t]*")


def check_digest(header: str, body: bytes) -> None:
    """Raises ApiError 400 when the header is malformed, or when a digest that it gives is wrong.

    Every digest of an algorithm known here must match; the others are ignored.
    """
    for name, expected in parse_digests(header).items():
        algorithm = ALGORITHMS.get(name)
        if algorithm is None:
            continue
        actual: bytes = algorithm(body).digest()
        if not hmac.compare_digest(actual, expected):
            raise ApiError(
                400,
                f"{HEADER}: {name} of the body is :{_base64(actual)}: and the header says "
                f":{_base64(expected)}: (the body changed on its way): send it again",
                param=HEADER,
                code="digest_mismatch",
            )


def parse_digests(header: str) -> dict[str, bytes]:
    """Algorithm to digest; of one that comes twice the last counts. Raises ApiError 400."""
    return dict(_members(header.strip(" ")))


def _members(header: str) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(header):
        member = _MEMBER.match(header, at)
        if member is None:
            raise _malformed(header)
        yield member["name"], _bytes(member["digest"], header)
        at = member.end()
        if at == len(header):
            return
        comma = _COMMA.match(header, at)
        if comma is None or comma.end() == len(header):
            raise _malformed(header)
        at = comma.end()


def _bytes(text: str, header: str) -> bytes:
    """Padding may be missing: RFC 8941, section 4.2.7, asks parsers to bear with that."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        raise _malformed(header) from None


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def _malformed(header: str) -> ApiError:
    shown = header if len(header) <= 100 else header[:99] + "…"
    return ApiError(
        400,
        f"{HEADER}={shown!r}: malformed: give `sha-256=:BASE64:` or `sha-512=:BASE64:` (RFC 9530), "
        "or leave it out",
        param=HEADER,
        code="invalid_value",
    )
