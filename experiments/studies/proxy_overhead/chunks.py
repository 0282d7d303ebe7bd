"""How many streamed chunks a second go through one core: rates offered in rising steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from experiments.studies.proxy_overhead.client import Answer, Asked, new_session, stream
from experiments.studies.proxy_overhead.latency import faults
from experiments.studies.proxy_overhead.processes import Running

CARRIED = 0.97  # chosen: of the chunks offered; less means that streams fall behind their source


async def step(proxy: Running, streams: int, chunks_per_s: float, seconds: float) -> dict[str, Any]:
    """`streams` at once, each of `seconds`, which together offer that many chunks a second."""
    gap_s = streams / chunks_per_s
    tokens = max(2, round(seconds / gap_s))
    async with new_session() as session:
        began, cpu_s = monotonic(), proxy.cpu_s()
        answers = await asyncio.gather(
            *(_later(session, proxy.url, Asked(n, tokens, gap_s), n) for n in range(streams))
        )
        wall_s, used_s = monotonic() - began, proxy.cpu_s() - cpu_s
    return _row(answers, streams, chunks_per_s, tokens * gap_s, wall_s, used_s)


async def _later(session: Any, url: str, asked: Asked, number: int) -> Answer:
    """Spread over one gap, so that sources do not tick alike."""
    await asyncio.sleep((number * 0.618) % 1 * asked.gap_s)
    return await stream(session, url, asked)


def _row(
    answers: Sequence[Answer],
    streams: int,
    offered: float,
    planned_s: float,
    wall_s: float,
    used_s: float,
) -> dict[str, Any]:
    came = sum(answer.events for answer in answers)
    delivered = came / wall_s
    # A stream that fell behind its source took longer than planned.
    return {
        "part": "chunks",
        "streams": streams,
        "offered_per_s": offered,
        "chunks": came,
        "pieces": sum(answer.pieces for answer in answers),
        "delivered_per_s": delivered,
        "carried": min(1.0, planned_s / (sum(a.whole_s for a in answers) / len(answers))),
        "core_used": used_s / wall_s,
        "cpu_us_per_chunk": used_s / max(came, 1) * 1e6,
        "faults": faults(answers),
    }


def most_carried(rows: Sequence[dict[str, Any]]) -> float:
    """Chunks a second of the highest step that was delivered about as fast as it was offered."""
    carried = [row["delivered_per_s"] for row in rows if row["carried"] >= CARRIED]
    return max(carried, default=0.0)
