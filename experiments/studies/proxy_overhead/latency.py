"""What the proxy adds to a request: each one sent twice, direct and through it, in random order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np

from experiments.studies.proxy_overhead.client import Answer, Asked, new_session, stream

ASKED_TOKENS, ASKED_GAP_S = 8, 0.005  # of the requests that are compared
LOAD_TOKENS, LOAD_GAP_S = 50, 0.04  # of the streams that run meanwhile
QUANTILES = (50, 90, 99)


@dataclass(frozen=True)
class Pair:
    direct: Answer
    through: Answer


@dataclass(frozen=True)
class Load:
    """`streams` run through the proxy all the time; each of `probers` sends so many `pairs`, with
    `pause_s` between requests.
    """

    name: str
    streams: int
    probers: int
    pause_s: float
    pairs: int


async def measured(
    load: Load, direct: str, through: str, seed: int
) -> tuple[list[Pair], list[Answer]]:
    """The pairs, and the answers of the streams that ran meanwhile."""
    async with new_session() as session:
        # Once each, not counted: connections are made and code is loaded.
        for url in (direct, through):
            await stream(session, url, Asked(seed, ASKED_TOKENS, ASKED_GAP_S))
        ended = asyncio.Event()
        running = [
            asyncio.create_task(_streams(session, through, seed + 10_000 * (n + 1), ended, n))
            for n in range(load.streams)
        ]
        if running:
            await asyncio.sleep(LOAD_TOKENS * LOAD_GAP_S / 2)  # until all have begun
        probers = [
            _pairs(session, load, direct, through, seed + 1000 * n) for n in range(load.probers)
        ]
        pairs = [pair for some in await asyncio.gather(*probers) for pair in some]
        ended.set()
        answers = [answer for some in await asyncio.gather(*running) for answer in some]
    return pairs, answers


async def _streams(
    session: aiohttp.ClientSession, url: str, seed: int, ended: asyncio.Event, number: int
) -> list[Answer]:
    """One stream after the other; they begin at different times, so that they do not tick alike."""
    answers: list[Answer] = []
    await asyncio.sleep((number * 0.618) % 1 * LOAD_TOKENS * LOAD_GAP_S / 2)
    while not ended.is_set():
        asked = Asked(seed + len(answers), LOAD_TOKENS, LOAD_GAP_S)
        answers.append(await stream(session, url, asked))
    return answers


async def _pairs(
    session: aiohttp.ClientSession, load: Load, direct: str, through: str, seed: int
) -> list[Pair]:
    rng = np.random.default_rng(seed)
    pairs: list[Pair] = []
    for number in range(load.pairs):
        asked = Asked(seed + number, ASKED_TOKENS, ASKED_GAP_S)
        first_direct = bool(rng.integers(2))
        one = await stream(session, direct if first_direct else through, asked)
        await asyncio.sleep(load.pause_s * rng.random())
        two = await stream(session, through if first_direct else direct, asked)
        pairs.append(Pair(one, two) if first_direct else Pair(two, one))
        await asyncio.sleep(load.pause_s * rng.random())
    return pairs


def row(load: Load, pairs: Sequence[Pair], others: Sequence[Answer]) -> dict[str, Any]:
    """Quantiles in ms of the paired differences, and of each side by itself."""
    whole = [p for p in pairs if not (p.direct.fault or p.through.fault)]
    if not whole:
        raise RuntimeError(f"no pair came whole; the first: {pairs[0] if pairs else 'none sent'}")
    found: dict[str, Any] = {
        "part": "latency",
        "load": load.name,
        "streams": load.streams,
        "pairs": len(whole),
        "faults": faults([a for p in pairs for a in (p.direct, p.through)] + list(others)),
    }
    for what in ("first_s", "whole_s"):
        name = what.removesuffix("_s")
        direct = np.array([getattr(p.direct, what) for p in whole]) * 1e3
        through = np.array([getattr(p.through, what) for p in whole]) * 1e3
        for q in QUANTILES:
            found[f"{name}_added_ms_p{q}"] = float(np.percentile(through - direct, q))
            found[f"{name}_direct_ms_p{q}"] = float(np.percentile(direct, q))
            found[f"{name}_through_ms_p{q}"] = float(np.percentile(through, q))
    return found


def faults(answers: Sequence[Answer]) -> int:
    """Answers that were lost, cut or changed."""
    return sum(1 for answer in answers if answer.fault)
