"""Looks after the server: deaths, restarts and edits by others, silence; brings it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from autotuner.proxy.engines.client import Client
from autotuner.proxy.engines.clock import Clock
from autotuner.proxy.engines.faults import Death
from autotuner.proxy.engines.hanging import Hanging
from autotuner.proxy.engines.launchers.port import Launcher, LaunchError, State
from autotuner.proxy.engines.record import Standing
from autotuner.proxy.engines.safety import after_death, wait_s
from autotuner.proxy.engines.site import Site, backend_of
from autotuner.proxy.engines.starting import Starter, Up
from autotuner.proxy.ports import EngineEvent, EngineFailedError, InFlight, Value

_HEALTH_S = 5.0  # chosen: for one answer of /health
_LOOK_EVERY_S = 1.0  # chosen: while requests are waited for
_READ_EVERY_S = 30.0  # chosen: how soon an edit without a restart is seen

OnEvent = Callable[[EngineEvent], None]


@dataclass(frozen=True)
class Patience:
    """`healthy_s` makes settings safe; `hung_s` of silence make the server a suspect of hanging."""

    healthy_s: float = 120.0
    hung_s: float = 60.0


class Watcher:
    """`look` is one look; whoever calls it keeps changes and looks apart."""

    def __init__(
        self,
        site: Site,
        starter: Starter,
        launcher: Launcher,
        client: Client,
        clock: Clock,
        patience: Patience,
        in_flight: InFlight,
    ) -> None:
        self._site, self._starter, self._launcher = site, starter, launcher
        self._client, self._clock, self._patience = client, clock, patience
        self._in_flight = in_flight
        self._hanging = Hanging(client, clock, in_flight, patience.hung_s)
        self._read_at = 0.0
        self._tries = 0
        self._next_try = 0.0

    async def look(self, on_event: OnEvent) -> None:
        if self._site.outage is not None or self._site.active is None:
            await self.bring_back(on_event)
            return
        standing = self._site.active
        state = await self._state(standing)
        if state is None:  # its keeper does not answer; the server may
            await self._listen(standing, on_event)
        elif not state.running or (state.exit is not None and state.identity != standing.identity):
            found = await self._starter.why(standing.place, standing.identity, was_ready=True)
            await self._died(found, on_event)
        elif state.identity != standing.identity:
            await self._replaced(standing, on_event)
        else:
            await self._listen(standing, on_event)

    async def note_death(self, on_event: OnEvent) -> None:
        """Tells of a death that no look has seen yet; the change that is about to be cures it."""
        standing = self._site.active
        if standing is None or self._site.outage is not None:
            return
        state = await self._state(standing)
        if state is None or state.running:
            await self._note_hang(standing, on_event)
            return
        self._down(
            await self._starter.why(standing.place, standing.identity, was_ready=True), on_event
        )

    def hold(self, on_event: OnEvent) -> AbstractAsyncContextManager[None]:
        """A `Hold` that waits for no request at a server that hangs; that it does is then told."""
        return self._in_flight.hold(lambda: self._until_hung(on_event))

    async def bring_back(self, on_event: OnEvent) -> None:
        """One try to have a server again, if its time has come."""
        if self._clock.now() < self._next_try:
            return
        site, wanted = self._site, self._site.track.current
        settings = after_death(site.track, self._tries)
        try:
            site.intend(Standing(site.place, settings))
            await self._starter.end(site.place)
            up = await self._starter.up(site.place, settings)
        except (EngineFailedError, OSError) as problem:
            self._tries += 1
            self._next_try = self._clock.now() + wait_s(self._tries)
            site.down(f"the server does not start, try {self._tries}: {problem}")
            return
        self._serve(up)
        if settings == wanted:
            on_event(EngineEvent("restarted", None, "started again with the same settings"))
        else:
            on_event(EngineEvent("reverted", None, f"back at {_told(settings)}"))

    async def _died(self, found: Death, on_event: OnEvent) -> None:
        self._tries, self._next_try = 0, 0.0
        self._down(found, on_event)
        await self.bring_back(on_event)

    def _down(self, found: Death, on_event: OnEvent) -> None:
        self._site.down(f"the server died ({found.fault}): {found.message}")
        on_event(EngineEvent("died", found.fault, found.message))

    async def _until_hung(self, on_event: OnEvent) -> None:
        """Returns once no answer can be hoped for: it hangs, or it is down already."""
        while self._site.outage is None and self._site.active is not None:
            if not await self._note_hang(self._site.active, on_event):
                await self._clock.sleep(_LOOK_EVERY_S)

    async def _note_hang(self, standing: Standing, on_event: OnEvent) -> bool:
        found = await self._hanging.found(backend_of(standing.place), self._site.server.model)
        if found is None:
            return False
        self._down(found, on_event)
        return True

    async def _replaced(self, standing: Standing, on_event: OnEvent) -> None:
        """Somebody restarted it; what runs now is taken as it is."""
        self._site.down("the server was restarted by others and is not ready yet")
        try:
            up = await self._starter.ready(standing.place, standing.settings)
        except EngineFailedError as problem:
            await self._died(Death(problem.fault, problem.message), on_event)
            return
        self._take(standing, up, on_event, restarted=True)

    async def _listen(self, standing: Standing, on_event: OnEvent) -> None:
        well = await self._client.healthy(standing.place.url, _HEALTH_S)
        self._hanging.healthy(well=well)
        found = await self._hanging.found(backend_of(standing.place), self._site.server.model)
        if found is not None:
            await self._died(found, on_event)
        elif well:
            await self._read_on(standing, on_event)

    async def _read_on(self, standing: Standing, on_event: OnEvent) -> None:
        """It serves well so far; now and then it is asked how it is set."""
        self._site.ripen(self._patience.healthy_s)
        now = self._clock.now()
        if now < self._read_at:
            return
        self._read_at = now + _READ_EVERY_S
        up = await self._starter.read(standing.place)
        if up.standing.identity == standing.identity:  # else the next look sees why
            self._take(standing, up, on_event, restarted=False)

    def _take(self, standing: Standing, up: Up, on_event: OnEvent, *, restarted: bool) -> None:
        """Takes over what the server tells now, where that differs from what it told before."""
        names = self._site.track.configured
        changed = edits(standing, up.standing.told, names)
        if not changed and not restarted:
            return
        settings = {**standing.settings, **changed}
        self._serve(Up(replace(up.standing, settings=settings), up.reading))
        if changed:
            on_event(EngineEvent("edited", None, f"set by others: {_told(changed)}"))
        else:
            on_event(EngineEvent("restarted", None, "restarted by others with the same settings"))

    def _serve(self, up: Up) -> None:
        self._site.serves(up)
        self._tries, self._next_try = 0, 0.0
        self._hanging.begin()
        self._read_at = self._clock.now() + _READ_EVERY_S

    async def _state(self, standing: Standing) -> State | None:
        try:
            return await self._launcher.state(standing.place)
        except LaunchError:
            return None


def edits(
    standing: Standing, told: Mapping[str, Value], names: Mapping[str, Value]
) -> dict[str, Value]:
    """Settings that the server tells otherwise than when it was started; its word for the rest.

    A server may tell less or other values than it was given (it clamps some): only a difference
    between two tellings is an edit. A bool that is no longer told is off.
    """
    changed: dict[str, Value] = {}
    for name in names:
        before, now = standing.told.get(name), told.get(name)
        if now is None and before is True:
            changed[name] = False
        elif now is not None and now != before and now != standing.settings.get(name):
            changed[name] = now
    return changed


def _told(settings: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(settings.items()))
