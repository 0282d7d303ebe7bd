"""The server's own metrics on the proxy's page: what of them is told, and how they are fetched."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from autotuner.proxy.ports import Backend

log = logging.getLogger(__name__)

PREFIXES = ("vllm:", "sglang:", "worker:")
_MOST_BYTES = 8 * 2**20  # chosen: far beyond any server's page


def own_families(page: str) -> str:
    """The lines of families with the servers' prefixes, as they are; what a process adds is left
    out, as the proxy's process has such metrics of its own.
    """
    return "".join(f"{line}\n" for line in page.splitlines() if _name(line).startswith(PREFIXES))


async def fetch(session: aiohttp.ClientSession, backend: Backend, timeout_s: float) -> str | None:
    """The page, None where none came in time."""
    try:
        async with asyncio.timeout(timeout_s):
            url = f"{backend.url}/metrics"
            headers = {"Accept": "text/plain", "Accept-Encoding": "identity"}
            async with session.get(url, headers=headers) as answer:
                raw = await answer.content.read(_MOST_BYTES) if answer.status == 200 else None
                while raw is not None and (more := await answer.content.read(_MOST_BYTES)):
                    raw += more
                    if len(raw) > _MOST_BYTES:
                        return None
    except (TimeoutError, aiohttp.ClientError) as error:
        log.debug("no metrics of %s: %r", backend.name, error)
        return None
    return None if raw is None else raw.decode("utf-8", "replace")


def _name(line: str) -> str:
    """Of the family that a line is about; "" for other comments."""
    if not line.startswith("#"):
        return line
    words = line.split(" ", 3)
    return words[2] if len(words) > 2 and words[1] in ("HELP", "TYPE") else ""
