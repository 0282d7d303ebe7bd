"""Servers that others run: requests go to them, and nothing about them can be changed from here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from autotuner.proxy.ports import Backend, EngineEvent, EngineKnob, Server, Switch, Value


class FixedEngines:
    """Implements `ports.Engines` without a launcher: no restart knobs, nothing probed."""

    def __init__(self, backends: Sequence[Backend], server: Server | None = None) -> None:
        if not backends:
            raise ValueError("backends=(): give at least one")
        self._backends = tuple(backends)
        self._server = server or Server("openai")

    def replace(self, backends: Sequence[Backend]) -> None:
        """Other servers from now on; the proxy takes them over at its `reload`."""
        self._backends = tuple(backends)

    def knobs(self) -> Mapping[str, EngineKnob]:
        return {}

    def settings(self) -> Mapping[str, Value]:
        return {}

    def server(self) -> Server:
        return self._server

    def backends(self) -> Sequence[Backend]:
        return self._backends

    def outage(self) -> str | None:
        return None

    async def start(self) -> None:
        """Nothing to start."""

    async def change(self, _settings: Mapping[str, Value], _switch: Switch) -> None:
        raise AssertionError("no restart knobs, no change of them")

    async def watch(self, _on_event: Callable[[EngineEvent], None]) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing to end."""
