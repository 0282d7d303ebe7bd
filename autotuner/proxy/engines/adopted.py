"""Implements `ports.Engines` for a server that others run: probed and watched, never restarted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from autotuner.proxy.engines.client import Client, Reading
from autotuner.proxy.engines.clock import Clock
from autotuner.proxy.engines.hanging import Hanging
from autotuner.proxy.engines.kinds.base import Kind
from autotuner.proxy.ports import (
    Backend,
    EngineEvent,
    EngineFailedError,
    EngineKnob,
    Fault,
    Server,
    Switch,
    Value,
)

_LOOK_EVERY_S = 5.0  # chosen
_LIMIT_S = 5.0  # chosen: for one answer
_SILENT_LOOKS = 3  # chosen: one answer may be late in a full server


class AdoptedServer:
    """Without restart knobs. A restart by others is seen by the start time in its metrics."""

    def __init__(
        self, kind: Kind, backend: Backend, client: Client, clock: Clock, hanging: Hanging
    ) -> None:
        self._kind, self._backend = kind, backend
        self._client, self._clock, self._hanging = client, clock, hanging
        self._hung = False
        self._reading = Reading()
        self._silent_looks = 0
        self._outage: str | None = None

    def knobs(self) -> Mapping[str, EngineKnob]:
        return {}

    def settings(self) -> Mapping[str, Value]:
        return {}

    def server(self) -> Server:
        return Server(self._kind.name, self._reading.version, self._reading.model)

    def backends(self) -> Sequence[Backend]:
        return (self._backend,)

    def outage(self) -> str | None:
        return self._outage

    async def start(self) -> None:
        self._silent_looks = _SILENT_LOOKS  # until it answers, it is out
        await self._look(lambda _event: None)

    async def change(self, settings: Mapping[str, Value], switch: Switch) -> None:
        del settings, switch
        raise EngineFailedError(
            Fault.REFUSED, "no launcher is configured: nothing can be restarted"
        )

    async def watch(self, on_event: Callable[[EngineEvent], None]) -> None:
        while True:
            await self._clock.sleep(_LOOK_EVERY_S)
            await self._look(on_event)

    async def close(self) -> None:
        await self._client.close()

    async def _look(self, on_event: Callable[[EngineEvent], None]) -> None:
        url = self._backend.url
        if not await self._client.healthy(url, _LIMIT_S):
            self._silent_looks += 1
            if self._silent_looks >= _SILENT_LOOKS and self._outage is None:
                self._out(f"{url}/health does not answer 200", on_event)
            return
        if self._hung and not await self._hanging.over(self._backend, self._reading.model):
            return
        found = await self._hanging.found(self._backend, self._reading.model)
        self._hung = found is not None
        if found is not None:
            self._out(found.message, on_event)
            return
        self._silent_looks, was_out, self._outage = 0, self._outage is not None, None
        self._compare(await self._client.read(url, _LIMIT_S), on_event, was_out=was_out)

    def _out(self, why: str, on_event: Callable[[EngineEvent], None]) -> None:
        self._outage = why
        if self._reading.model:
            on_event(EngineEvent("died", Fault.HUNG, why))

    def _compare(
        self, now: Reading, on_event: Callable[[EngineEvent], None], *, was_out: bool
    ) -> None:
        before, self._reading = self._reading, now
        if not before.model:
            return  # the first reading
        changed = {
            name: value
            for name, value in now.settings.items()
            if name in before.settings and before.settings[name] != value
        }
        if changed:
            said = ", ".join(f"{name}={value}" for name, value in sorted(changed.items()))
            on_event(EngineEvent("edited", None, f"set by others: {said}"))
        elif was_out or (None not in (now.born, before.born) and now.born != before.born):
            on_event(EngineEvent("restarted", None, "it runs again, or anew"))
