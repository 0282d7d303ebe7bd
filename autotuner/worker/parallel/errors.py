"""What goes wrong in a group of ranks."""

from __future__ import annotations


class GroupError(RuntimeError):
    """The group can't go on; the message names the rank and what happened to it."""
