"""Users' requests at a steady rate, and what became of each: none may be lost unseen."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import aiohttp

FAKE = "fake/model"
WITHIN_S = 60.0  # no request of a test takes so long


@dataclass
class Traffic:
    """What was sent so far; `lost` has a line for each request without its whole answer."""

    served: int = 0
    lost: list[str] = field(default_factory=list)
    in_flight: int = 0

    async def send(self, session: aiohttp.ClientSession, url: str, tokens: int, model: str) -> None:
        """One streamed completion; it is served when every token of it came, and the end mark."""
        body: dict[str, object] = {
            "model": model,
            "prompt": "one two three four",
            "max_tokens": tokens,
        }
        body |= {"stream": True, "ignore_eos": True}
        self.in_flight += 1
        try:
            async with session.post(f"{url}/v1/completions", json=body) as answer:
                told = (await answer.read()).decode()
            events = [line[6:] for line in told.splitlines() if line.startswith("data: ")]
            # A real server may put two tokens into one event; the fake one never does.
            whole = events[-1:] == ["[DONE]"] and '"length"' in events[-2]
            whole = whole and (model != FAKE or len(events) == tokens + 1)
            if answer.status == 200 and whole:
                self.served += 1
            else:
                self.lost.append(f"{answer.status}, {len(events)} events: {told[-300:]}")
        except (aiohttp.ClientError, OSError, TimeoutError, json.JSONDecodeError) as problem:
            self.lost.append(f"{type(problem).__name__}: {problem}")
        finally:
            self.in_flight -= 1


@contextmanager
def traffic(
    urls: Sequence[str],
    rate_rps: float,
    tokens: int = 16,
    model: str = FAKE,
    within_s: float = WITHIN_S,
) -> Iterator[Traffic]:
    """Poisson arrivals, in turn to each of the addresses, until the block ends; then the last
    answers are awaited."""
    seen, over = Traffic(), threading.Event()

    async def keep_asking() -> None:
        drawn, turns = random.Random(7), itertools.cycle(urls)
        timeout = aiohttp.ClientTimeout(total=within_s)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            tasks = set()
            while not over.is_set():
                task = asyncio.create_task(seen.send(session, next(turns), tokens, model))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                await asyncio.sleep(drawn.expovariate(rate_rps))
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await asyncio.gather(*tasks)

    sender = threading.Thread(target=lambda: asyncio.run(keep_asking()), daemon=True)
    sender.start()
    try:
        yield seen
    finally:
        over.set()
        sender.join()
