"""What the routes share that read a log by cursor."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

After = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1)]
# 1000 exposures take 5.6 ms to write (measured); a longer page would hold up every stream.
MAX_PAGE_RECORDS = 1000


def stamp(boot_id: str, now: float) -> dict[str, Any]:
    """Which boot answers, and when by its clock (wall, s)."""
    return {"boot_id": boot_id, "now": now}
