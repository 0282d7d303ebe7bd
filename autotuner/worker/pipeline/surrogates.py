r"""Lone surrogates in JSON text: `\ud83d` without its other half, as clients that cut a text send.

JSON parsers refuse them, though all that is lost is half a character.
"""

from __future__ import annotations

import re

# A pair, else a lone half, else any other escape: that one is met so that the `u` after an escaped
# backslash is not taken for one of its own.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)


def without_lone_surrogates(body: bytes) -> bytes:
    """The JSON text without the escapes of half a character; otherwise as it was."""
    return _ESCAPE.sub(lambda match: b"" if match["lone"] else match[0], body)
