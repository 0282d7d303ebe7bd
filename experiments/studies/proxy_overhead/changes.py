"""Are requests lost when the proxy reloads its configuration or is restarted under load?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from experiments.studies.proxy_overhead.client import Answer, Asked, new_session, stream
from experiments.studies.proxy_overhead.latency import faults
from experiments.studies.proxy_overhead.processes import (
    Running,
    hold_socket,
    start_proxy,
    write_config,
)

TOKENS, GAP_S = 20, 0.02  # of each stream: 0.4 s
BETWEEN_S = 0.5  # longer than a stream, so that some live under two configurations only


@dataclass
class Clients:
    """Streams, one after the other per client, until `ending`."""

    url: str
    number: int
    answers: list[Answer] = field(default_factory=list)
    ending: bool = False

    async def run(self) -> None:
        async with new_session() as session:
            await asyncio.gather(*(self._one(session, n) for n in range(self.number)))

    async def _one(self, session: aiohttp.ClientSession, number: int) -> None:
        await asyncio.sleep((number * 0.618) % 1 * TOKENS * GAP_S)
        seed = 1_000_000 * (number + 1)
        while not self.ending:
            asked = Asked(seed, TOKENS, GAP_S)
            self.answers.append(await stream(session, self.url, asked))
            seed += 1


async def reloads(file: Path, cores: set[int], urls: Sequence[str], times: int, clients: int
                  ) -> dict[str, Any]:  # fmt: skip
    """Backends, weights and limits change by SIGHUP `times` times; what became of the streams."""
    one, two = urls
    ways = [([one], [1.0]), ([one, two], [1.0, 3.0]), ([two], [1.0]), ([two, one], [1.0, 0.0])]
    running = start_proxy(write_config(file, [one]), cores)
    try:
        async with _load(running.url, clients) as load:
            for turn in range(times):
                backends, weights = ways[(turn + 1) % len(ways)]
                write_config(file, backends, weights=weights, live={"max_queue": 1000 + turn})
                running.reload()
                await asyncio.sleep(BETWEEN_S)
    finally:
        running.end()
    return _row("reload", times, load)


async def restarts(file: Path, cores: set[int], url: str, times: int, clients: int
                   ) -> dict[str, Any]:  # fmt: skip
    """A held socket is handed from one process to the next, `times` times."""
    held = hold_socket()
    write_config(file, [url])
    running = start_proxy(file, cores, held)
    try:
        async with _load(f"http://127.0.0.1:{held.getsockname()[1]}", clients) as load:
            for _ in range(times):
                await asyncio.sleep(BETWEEN_S)
                running = await asyncio.to_thread(_restarted, running, file, cores, held)
            await asyncio.sleep(BETWEEN_S)
    finally:
        running.end()
        held.close()
    return _row("restart", times, load)


def _restarted(old: Running, file: Path, cores: set[int], held: Any) -> Running:
    status = old.end()
    if status != 0:
        raise RuntimeError(f"the proxy ended with {status}")
    return start_proxy(file, cores, held)


@contextlib.asynccontextmanager
async def _load(url: str, clients: int) -> AsyncIterator[Clients]:
    load = Clients(url, clients)
    task = asyncio.create_task(load.run())
    try:
        await asyncio.sleep(BETWEEN_S)
        yield load
    finally:
        load.ending = True
        await task


def _row(part: str, times: int, load: Clients) -> dict[str, Any]:
    return {
        "part": part,
        "times": times,
        "requests": len(load.answers),
        "faults": faults(load.answers),
        "told": sorted({a.fault for a in load.answers if a.fault})[:3],
        "longest_s": max(a.whole_s for a in load.answers),
    }
