"""Runs a short program and returns what it said; nothing of ours waits on it for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.proxy.engines.launchers.port import LaunchError


@dataclass(frozen=True)
class Said:
    """How a program ended and what it printed."""

    status: int
    out: str
    err: str


async def run(argv: Sequence[str], limit_s: float) -> Said:
    """Raises LaunchError where it can't be run or does not end in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as problem:
        raise LaunchError(f"can't run {argv[0]}: {problem.strerror}") from problem
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
    except TimeoutError as problem:
        raise LaunchError(f"{' '.join(argv)} did not end within {limit_s:.0f} s") from problem
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Said(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))
