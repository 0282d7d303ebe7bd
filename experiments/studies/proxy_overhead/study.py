"""What does the proxy cost a request, how many chunks go through one core, and is any ever lost?

Requests paired, direct and through it, against a source whose bytes are known.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.studies import _common
from experiments.studies.proxy_overhead import changes, chunks, latency
from experiments.studies.proxy_overhead.figure import draw
from experiments.studies.proxy_overhead.latency import Load
from experiments.studies.proxy_overhead.processes import Running, proxy, source, write_config

SEED = 9180
ADDED_MS, CHUNKS_PER_S = 1.0, 2000.0  # the targets
STREAMS = 64


@dataclass(frozen=True)
class Size:
    loads: tuple[Load, ...]
    offered_per_s: tuple[float, ...]
    step_s: float
    reloads: int
    restarts: int
    clients: int


FULL = Size(
    loads=(Load("low rate", 0, 2, 0.04, 300), Load(f"{STREAMS} streams", STREAMS, 4, 0.04, 300)),
    offered_per_s=(500, 1000, 2000, 3000, 4000, 6000),
    step_s=8.0,
    reloads=20,
    restarts=4,
    clients=32,
)
QUICK = Size(
    loads=(Load("low rate", 0, 1, 0.0, 10), Load(f"{STREAMS} streams", STREAMS, 2, 0.0, 10)),
    offered_per_s=(500, 2500),
    step_s=1.0,
    reloads=3,
    restarts=1,
    clients=8,
)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures with real processes on this machine; writes results and figure into `out`."""
    cores = os.sched_getaffinity(0)
    # Among several cores the proxy has one for itself; the source and the clients share the rest.
    mine = {min(cores)}
    rest = cores - mine or mine
    os.sched_setaffinity(0, rest)
    try:
        with TemporaryDirectory() as folder:
            rows = _measured(QUICK if quick else FULL, Path(folder) / "proxy.yaml", mine, rest)
    finally:
        os.sched_setaffinity(0, cores)
    content = _common.results(
        "proxy_overhead",
        packages=("aiohttp", "uvicorn", "numpy"),
        seeds=[SEED],
        rows=rows,
        checks=checks(rows),
        trial=quick,
        core_of_its_own=rest != mine,
    )
    _common.write(out, content)
    draw(rows).savefig(out / "figure.png", dpi=120)
    return content


def _measured(size: Size, file: Path, mine: set[int], rest: set[int]) -> list[dict[str, Any]]:
    with source(rest) as one, source(rest) as two:
        with proxy(write_config(file, [one.url]), mine) as running:
            rows = asyncio.run(_steady(size, one, running))
        urls = (one.url, two.url)
        rows.append(asyncio.run(changes.reloads(file, mine, urls, size.reloads, size.clients)))
        rows.append(asyncio.run(changes.restarts(file, mine, one.url, size.restarts, size.clients)))
    return rows


async def _steady(size: Size, source: Running, proxy: Running) -> list[dict[str, Any]]:
    rows = []
    for number, load in enumerate(size.loads):
        pairs, others = await latency.measured(
            load, source.url, proxy.url, SEED + 10_000_000 * number
        )
        rows.append(latency.row(load, pairs, others))
        print(f"latency, {load.name}: {len(pairs)} pairs", flush=True)
    for offered in size.offered_per_s:
        rows.append(await chunks.step(proxy, STREAMS, offered, size.step_s))
        print(f"{offered:g} chunks/s offered: {rows[-1]['delivered_per_s']:.0f}", flush=True)
    return rows


def checks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims; a row of each part is there."""
    of = {part: [row for row in rows if row["part"] == part] for part in
          ("latency", "chunks", "reload", "restart")}  # fmt: skip
    found = [
        _common.check(
            f"added to {what}, {row['load']}, P50",
            row[f"{name}_added_ms_p50"],
            "ms",
            ADDED_MS,
            "at_most",
        )
        for row in of["latency"]
        for name, what in (("first", "the first token"), ("whole", "a request"))
    ]
    most = chunks.most_carried(of["chunks"])
    lost = sum(row["faults"] for row in of["latency"] + of["chunks"])
    return [
        *found,
        _common.check("chunks through one core", most, "chunks/s", CHUNKS_PER_S, "at_least"),
        _common.check("answers lost or changed", lost, "answers", 0, "at_most"),
        _common.check(
            "answers lost over reloads", of["reload"][0]["faults"], "answers", 0, "at_most"
        ),
        _common.check(
            "answers lost over restarts", of["restart"][0]["faults"], "answers", 0, "at_most"
        ),
    ]
