"""The proxy as its admin routes see it: the body of its settings, and its logs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from autotuner.fronts.admin import SettingsChange
from autotuner.fronts.errors import engine_gone
from autotuner.fronts.exposures import Exposure
from autotuner.fronts.ring import Ring
from autotuner.proxy.knobs import capabilities
from autotuner.proxy.ports import Engines
from autotuner.proxy.state import SettingsState
from autotuner.proxy.traffic import Traffic


class ProxyAdmin:
    """Implements `fronts.admin.Administered`."""

    def __init__(self, state: SettingsState, traffic: Traffic, engines: Engines) -> None:
        self._state, self._traffic, self._engines = state, traffic, engines
        self._no_steps: Ring[Exposure] = Ring(1)  # what the server computes is not seen from here

    @property
    def boot_id(self) -> str:
        return self._state.boot_id

    @property
    def exposures(self) -> Ring[Exposure]:
        return self._traffic.exposures

    @property
    def steps(self) -> Ring[Exposure]:
        return self._no_steps

    def now(self) -> float:
        return self._traffic.clocks.wall()

    def in_flight_by_generation(self) -> dict[str, int]:
        return self._traffic.in_flight_by_generation()

    @property
    def ready(self) -> bool:
        return self._state.in_force is not None

    def check_ready(self) -> None:
        if not self.ready:
            raise engine_gone(self._engines.outage() or "the server is starting")

    def settings_body(self) -> dict[str, Any]:
        state, server = self._state, self._engines.server()
        assert state.in_force is not None  # checked before
        rebuilding = state.rebuilding
        deaths = state.deaths.read(0, 1000).records
        return {
            "generation": state.in_force.generation,
            "applied_at": state.in_force.applied_at,
            "model": server.model,
            "server": {"kind": server.kind, "version": server.version},
            "settings": dict(state.in_force.settings),
            "rebuilding": None if rebuilding is None else dict(rebuilding),
            "capabilities": capabilities(state.knobs()),
            "restart_s": state.restart_s,
            "faults": [{"seq": seq, **asdict(death)} for seq, death in deaths],
        }

    async def change(self, change: SettingsChange) -> None:
        await self._state.change(change)
