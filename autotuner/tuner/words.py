"""What decisions say, and the seeds that follow from when they were taken."""

from __future__ import annotations

import hashlib

from autotuner.domain.knobs import Settings


def difference(candidate: Settings, incumbent: Settings) -> str:
    """`knob old→new` for each knob that changes."""
    changes = candidate.changed_from(incumbent)
    return ", ".join(f"{k} {incumbent.get(k)}→{v}" for k, v in changes.items()) or "nothing (A/A)"


def seed_of(target: str, now: float) -> int:
    """A seed that a replay finds again, since it follows from what the history holds."""
    return int.from_bytes(hashlib.sha256(f"{target}:{now!r}".encode()).digest()[:6])
