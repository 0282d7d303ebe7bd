"""A manager over real children, with what tests ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from autotuner.config.model import parse
from autotuner.proxy.engines.build import engines_of_config
from autotuner.proxy.engines.clock import SystemClock
from autotuner.proxy.engines.config import EngineConfig
from autotuner.proxy.engines.launchers.processes import identity_of
from autotuner.proxy.ports import Backend, EngineEvent, Engines, Value

CHILD = Path(__file__).with_name("child.py")
SETTINGS = {"max_num_seqs": 64, "gpu_memory_utilization": 0.9}
PATIENCE_S = 60.0  # generous: a slow machine must not fail a test


def free_ports(count: int) -> tuple[int, ...]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return tuple(probe.getsockname()[1] for probe in probes)


class Skipping(SystemClock):
    """The machine's clock, that a test moves on."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def now(self) -> float:
        return super().now() + self.skipped_s


@dataclass
class House:
    """One proxy's engine part on a folder; `story` is what happened, in order.

    `unanswered_s`: for how long users' requests have been at the server and got nothing.
    """

    folder: Path
    ports: tuple[int, ...] = field(default_factory=lambda: free_ports(2))
    story: list[str] = field(default_factory=list)
    events: asyncio.Queue[EngineEvent] = field(default_factory=asyncio.Queue)
    clock: Skipping = field(default_factory=Skipping)
    unanswered_s: float = 0.0

    def config(self, *, keep: bool = False, **told: Any) -> EngineConfig:
        pids = self.folder / "pids"
        pids.mkdir(exist_ok=True)
        launcher = {
            "kind": "command",
            "command": [sys.executable, str(CHILD)],
            "ports": self.ports if told.get("mode") == "blue_green" else self.ports[:1],
            "environment": {"CHILD_PIDS": str(pids)},
            "stop_s": 5,
            "keep": keep,
        }
        warm_up = {"requests": 2, "long_prompt_tokens": 64, "limit_s": 30}
        whole = {
            "kind": "vllm", "settings": SETTINGS, "launcher": launcher, "warm_up": warm_up,
            "state_dir": str(self.folder / "state"), "ready_s": 30, **told,
        }  # fmt: skip
        return parse(EngineConfig, whole, "test")

    @contextlib.asynccontextmanager
    async def hold(
        self, enough: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        if self.unanswered_s and enough is not None:
            self.story.append("waits")
            await enough()
        self.story.append("held")
        try:
            yield
        finally:
            self.story.append("freed")

    def silent_s(self, backend: Backend) -> float:
        return self.unanswered_s

    async def switch(self, backends: Sequence[Backend]) -> None:
        self.story.append(f"to {backends[0].url.rpartition(':')[2]}, {len(self.alive()) // 2} up")

    @contextlib.asynccontextmanager
    async def running(self, config: EngineConfig | None = None) -> AsyncIterator[Engines]:
        engines = engines_of_config(config or self.config(), clock=self.clock)(self)
        await engines.start()
        watch = asyncio.create_task(engines.watch(self.events.put_nowait))
        try:
            yield engines
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            await engines.close()

    async def event(self) -> EngineEvent:
        async with asyncio.timeout(PATIENCE_S):
            return await self.events.get()

    def pids(self, port: int | None = None) -> list[int]:
        """The processes, servers and their workers, that ever ran."""
        names = [path.name.split("-") for path in (self.folder / "pids").iterdir()]
        return [int(pid) for told, pid in names if port is None or int(told) == port]

    def alive(self, port: int | None = None) -> list[int]:
        return [pid for pid in self.pids(port) if identity_of(pid)]

    async def served_long(self, settings: Mapping[str, Value]) -> None:
        """An hour passes, and `settings` are known to be safe."""
        self.clock.skipped_s += 3600
        await self.until(lambda: self.record()["safe"] == settings)

    def record_file(self) -> Path:
        return self.folder / "state" / f"{self.ports[0]}.json"

    def record(self) -> dict[str, Any]:
        return dict(json.loads(self.record_file().read_text()))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.05)


async def ask(engines: Engines, path: str) -> int:
    """The status of a GET; 0 where the server breaks off."""
    limit = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(engines.backends()[0].url + path) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    if (tmp_path / "pids").exists():
        for pid in made.alive():  # what a failing test left
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run(work: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(240):
            await work

    asyncio.run(bounded())
