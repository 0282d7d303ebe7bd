"""Other settings by a new server: beside the old one, or in its place with requests held.

Whatever fails, the old settings serve again, or are being brought back by the watcher.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import structlog

from autotuner.proxy.engines.launchers.port import Place
from autotuner.proxy.engines.record import Standing
from autotuner.proxy.engines.site import Site, backend_of
from autotuner.proxy.engines.starting import Starter
from autotuner.proxy.ports import EngineFailedError, Fault, Hold, Switch, Value

log = structlog.get_logger()

# Beside another server these say as much of the other one as of the settings.
_MEMORY = {Fault.START_MEMORY, Fault.START_KV, Fault.RUN_MEMORY, Fault.KILLED}


class Changer:
    """Changes one site. `places` has a second one for blue/green."""

    def __init__(
        self,
        site: Site,
        starter: Starter,
        places: tuple[Place, ...],
        mode: Literal["in_place", "blue_green"],
        *,
        retry_in_place: bool,
    ) -> None:
        self._site, self._starter, self._places = site, starter, places
        self._mode, self._retry = mode, retry_in_place

    async def change(self, settings: Mapping[str, Value], switch: Switch, hold: Hold) -> None:
        """Raises EngineFailedError; OSError where the change can't be put on record."""
        old = self._site.active
        if self._mode == "in_place" or old is None or self._site.outage is not None:
            await self._in_place(settings, switch, hold)
            return
        try:
            await self._beside(old, settings, switch)
        except EngineFailedError as problem:
            if not (self._retry and problem.fault in _MEMORY):
                raise
            log.warning("engine.in_place", said=f"no room beside the old one: {problem}")
            await self._in_place(settings, switch, hold)

    async def _beside(self, old: Standing, settings: Mapping[str, Value], switch: Switch) -> None:
        free = next(place for place in self._places if place.name != old.place.name)
        self._site.intend(Standing(free, settings))
        try:
            up = await self._starter.up(free, settings)
        except BaseException:
            self._site.forget()
            raise
        self._site.serves(up, leaving=old)
        try:
            await switch([backend_of(up.standing.place)])
        finally:
            await self._starter.end(old.place)
            self._site.forget()

    async def _in_place(self, settings: Mapping[str, Value], switch: Switch, hold: Hold) -> None:
        place = self._site.place
        self._site.intend(Standing(place, settings))
        async with hold():
            try:
                await self._starter.stop(place)
            except BaseException:
                self._site.forget()  # it may still serve; if it does not, the watcher sees that
                raise
            try:
                up = await self._starter.up(place, settings)
            except EngineFailedError as problem:
                self._site.forget()
                await self._back(problem)
                raise
            except BaseException:
                self._site.forget()
                self._site.down("a change of the settings was broken off; the old ones come back")
                raise
            self._site.serves(up)
            await switch([backend_of(up.standing.place)])

    async def _back(self, problem: EngineFailedError) -> None:
        """The old settings again; raises EngineFailedError where they do not start either."""
        old = self._site.track.current
        try:
            up = await self._starter.up(self._site.place, old)
        except EngineFailedError as second:
            self._site.down(f"the old settings did not start again: {second.message}")
            raise EngineFailedError(
                problem.fault,
                f"{problem.message}; the old settings did not start again either "
                f"({second.message}): they are tried on and on",
            ) from second
        except BaseException:
            self._site.down("the way back to the old settings was broken off")
            raise
        self._site.serves(up)
