"""Engines for tests of the proxy's core: a server whose restarts the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from autotuner.proxy.ports import Backend, EngineEvent, EngineKnob, Hold, Server, Switch, Value

KNOBS = {
    "max_num_seqs": EngineKnob("max_num_seqs", "int", 1, 1024),
    "unknown_value": EngineKnob("unknown_value", "int", 1, 8),
}


@dataclass
class FakeEngines:
    """`change` does what `restart` says: nothing by default, so that it succeeds at once."""

    hold: Hold
    offered: Mapping[str, EngineKnob] = field(default_factory=lambda: KNOBS)
    urls: list[str] = field(default_factory=lambda: ["http://old"])
    values: dict[str, Value] = field(default_factory=lambda: {"max_num_seqs": 256})
    down: str | None = None
    in_place: bool = False
    restart: Callable[[Mapping[str, Value]], None] = lambda _: None
    gate: asyncio.Event | None = None  # a restart waits for it
    asked: list[Mapping[str, Value]] = field(default_factory=list)
    starts: list[Exception] = field(default_factory=list)  # raised one by one
    on_event: Callable[[EngineEvent], None] = lambda _: None
    closed: bool = False

    def knobs(self) -> Mapping[str, EngineKnob]:
        return self.offered

    def settings(self) -> Mapping[str, Value]:
        return self.values

    def server(self) -> Server:
        return Server("vllm", "0.33.0", "tiny")

    def backends(self) -> Sequence[Backend]:
        return [Backend(url, url) for url in self.urls]

    def outage(self) -> str | None:
        return self.down

    async def start(self) -> None:
        if self.starts:
            raise self.starts.pop(0)

    async def change(self, settings: Mapping[str, Value], switch: Switch) -> None:
        self.asked.append(settings)
        if self.in_place:
            async with self.hold():
                await self._change(settings, switch)
        else:
            await self._change(settings, switch)

    async def _change(self, settings: Mapping[str, Value], switch: Switch) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.restart(settings)
        self.values = {**self.values, **settings}
        if not self.in_place:
            self.urls = ["http://new"]
        await switch(self.backends())

    async def watch(self, on_event: Callable[[EngineEvent], None]) -> None:
        self.on_event = on_event
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True
