"""Implements `ports.Engines` for one server: adopts or starts it, changes it, watches it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import structlog

from autotuner.proxy.engines.changing import Changer
from autotuner.proxy.engines.client import Client
from autotuner.proxy.engines.clock import Clock
from autotuner.proxy.engines.flags import Flag
from autotuner.proxy.engines.knobs import check_value
from autotuner.proxy.engines.launchers.port import Launcher, LaunchError, Place
from autotuner.proxy.engines.record import Standing
from autotuner.proxy.engines.site import Site
from autotuner.proxy.engines.starting import Starter, Up
from autotuner.proxy.engines.watching import Watcher, edits
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

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0  # chosen: so late is a death seen at most
_HEALTH_S = 5.0  # chosen


class EngineManager:
    """One server behind one proxy. Changes and looks take turns."""

    def __init__(
        self,
        flags: Mapping[str, Flag],
        site: Site,
        starter: Starter,
        changer: Changer,
        watcher: Watcher,
        launcher: Launcher,
        client: Client,
        clock: Clock,
    ) -> None:
        self._flags, self._site, self._starter = flags, site, starter
        self._changer, self._watcher = changer, watcher
        self._launcher, self._client, self._clock = launcher, client, clock
        self._turn = asyncio.Lock()
        self._on_event: Callable[[EngineEvent], None] = _unheard

    def knobs(self) -> Mapping[str, EngineKnob]:
        return {name: flag.knob for name, flag in self._flags.items()}

    def settings(self) -> Mapping[str, Value]:
        return dict(self._site.track.current)

    def server(self) -> Server:
        return self._site.server

    def backends(self) -> Sequence[Backend]:
        return self._site.backends

    def outage(self) -> str | None:
        return self._site.outage

    async def start(self) -> None:
        """Finds what an earlier life left, ends what was half done, adopts or starts the rest.

        A server that does not start leaves an outage, and `watch` tries on.
        """
        async with self._turn:
            if not await self._found():
                await self._watcher.bring_back(_unheard)
            if self._site.outage is None:
                log.info("engine.serves", place=self._site.place.url, settings=self.settings())

    async def change(self, settings: Mapping[str, Value], switch: Switch) -> None:
        """Raises EngineFailedError; OSError where the change can't be put on record."""
        if settings.keys() != self._flags.keys():
            raise EngineFailedError(Fault.REFUSED, f"settings: give all of {list(self._flags)}")
        try:
            for name, value in settings.items():
                check_value(self._flags[name].knob, value)
        except ValueError as problem:
            raise EngineFailedError(Fault.REFUSED, str(problem)) from problem
        async with self._turn:
            await self._watcher.note_death(self._on_event)
            hold = partial(self._watcher.hold, self._on_event)
            await self._changer.change(dict(settings), switch, hold)

    async def watch(self, on_event: Callable[[EngineEvent], None]) -> None:
        self._on_event = on_event
        while True:
            await self._clock.sleep(_LOOK_EVERY_S)
            async with self._turn:
                try:
                    await self._watcher.look(on_event)
                except LaunchError as problem:
                    log.warning("engine.look", problem=str(problem))

    async def close(self) -> None:
        try:
            await self._launcher.close()
        finally:
            await self._client.close()

    async def _found(self) -> bool:
        record = self._site.restore()
        active, other = record.active, record.other
        half_made = False
        if active is not None and active.place.name not in {
            p.name for p in self._launcher.places()
        }:
            await self._end_leftover(active)  # the configuration has other places now
            self._site.abandon()
            active = None
        if other is not None:
            half_made = active is not None and other.place.name == active.place.name
            await self._end_leftover(other)
        if active is not None:
            mine = await self._recall(active)
            if mine and not half_made:
                return await self._adopt(active.place, active)
            if mine:
                await self._starter.end(active.place)
            return False
        for place in self._launcher.places():
            if await self._runs(place):
                return await self._adopt(place, None)
        return False

    async def _end_leftover(self, other: Standing) -> None:
        log.warning("engine.leftover", place=other.place.name, said="a change was half made")
        await self._recall(other)
        await self._starter.end(other.place)
        self._site.forget()

    async def _recall(self, standing: Standing) -> bool:
        if standing.identity is None:
            return False
        try:
            return await self._launcher.recall(standing.place, standing.identity)
        except LaunchError:
            return False

    async def _runs(self, place: Place) -> bool:
        try:
            return (await self._launcher.state(place)).running
        except LaunchError:
            return False

    async def _adopt(self, place: Place, before: Standing | None) -> bool:
        """Takes the running server as it is; one that is still starting passes the gates first."""
        configured = self._site.track.configured
        known = before or Standing(place, configured)
        try:
            if await self._client.healthy(place.url, _HEALTH_S):
                up = await self._starter.read(place)
            else:
                up = await self._starter.ready(place, known.settings)
        except (EngineFailedError, LaunchError) as problem:
            log.warning("engine.adopt", place=place.name, problem=str(problem))
            return False
        changed = edits(known, up.standing.told, configured)
        settings = {**configured, **known.settings, **changed}
        settings = {name: settings[name] for name in configured}
        self._site.serves(Up(replace(up.standing, settings=settings), up.reading))
        return True


def _unheard(event: EngineEvent) -> None:
    """The start itself is no event."""
    del event
