"""Streams asked for, timed and compared byte by byte with what the source has sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from time import perf_counter

import aiohttp

from experiments.studies.proxy_overhead.source import events


@dataclass(frozen=True)
class Asked:
    """A stream of `tokens` events, `gap_s` apart; `seed` decides its bytes."""

    seed: int
    tokens: int
    gap_s: float

    @property
    def body(self) -> bytes:
        return json.dumps(
            {
                "model": "source",
                "prompt": "Say it.",
                "max_tokens": self.tokens,
                "seed": self.seed,
                "gap_ms": self.gap_s * 1e3,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()


@dataclass(frozen=True)
class Answer:
    """What came: times from the request's start (s), pieces read, `fault` "" if all is right."""

    first_s: float
    whole_s: float
    pieces: int
    events: int
    fault: str = ""


def wanted_digest(seed: int, tokens: int) -> bytes:
    return hashlib.sha256(b"".join(events(seed, tokens))).digest()


def new_session() -> aiohttp.ClientSession:
    """Without a limit of its own; a connection that was cut is told, not hidden by a retry."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=120.0),
        headers={"Content-Type": "application/json"},
    )


async def stream(session: aiohttp.ClientSession, url: str, asked: Asked) -> Answer:
    """Asks once and reads to the end. Never raises: a fault is part of the answer."""
    digest, pieces, found, first_s = hashlib.sha256(), 0, 0, 0.0
    body = asked.body
    wanted = wanted_digest(asked.seed, asked.tokens)
    began = perf_counter()
    fault = ""
    try:
        async with session.post(f"{url}/v1/completions", data=body) as response:
            if response.status != 200:
                fault = f"{response.status}: {(await response.text(errors='replace'))[:200]}"
            async for data in response.content.iter_any():
                if not pieces:
                    first_s = perf_counter() - began
                pieces += 1
                found += data.count(b"data: {")
                digest.update(data)
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as problem:
        fault = f"{type(problem).__name__}: {problem}"
    if not fault and digest.digest() != wanted:
        fault = "the bytes are not those that were sent"
    return Answer(first_s, perf_counter() - began, pieces, found, fault)
