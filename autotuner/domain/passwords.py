"""Passwords in texts that people read: replaced, wherever a URL carries one."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(://[^:/?#@\s'\"]*):[^/\s'\"]*@")


def hide_passwords(text: str) -> str:
    """The text with the password of every URL in it replaced by ***."""
    return _PASSWORD.sub(r"\1:***@", text)
