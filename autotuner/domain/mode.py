"""How much a daemon may do to its target."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """ACTIVE acts; ADVISORY decides and records but applies nothing; PAUSED observes only."""

    ACTIVE = "active"
    ADVISORY = "advisory"
    PAUSED = "paused"
