"""The settings in force and their generation: how they change, and what happens to the server.

Must be used from one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotuner.fronts.admin import NotChangedError, SettingsChange, stale_generation
from autotuner.fronts.errors import ApiError, engine_gone
from autotuner.fronts.ring import Ring
from autotuner.proxy.knobs import LIVE, updated
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.pool import drained
from autotuner.proxy.ports import (
    Backend,
    EngineEvent,
    EngineFailedError,
    EngineKnob,
    Engines,
    Fault,
    Value,
)
from autotuner.proxy.traffic import Traffic

log = logging.getLogger(__name__)

_KEPT_FAULTS = 16
_KEPT_RESTARTS = 16  # chosen: enough that one odd restart does not move the median


@dataclass(frozen=True)
class InForce:
    """Settings that act, since `applied_at` (wall clock, s)."""

    settings: Mapping[str, Value]
    generation: int
    applied_at: float


@dataclass(frozen=True)
class Death:
    """A server that died while it served, under these settings; `at` is wall clock (s)."""

    at: float
    fault: str
    message: str
    settings: Mapping[str, Value]


class SettingsState:
    """One change at a time. Numbers of generations are never used twice, across boots too."""

    def __init__(self, traffic: Traffic, engines: Engines) -> None:
        self._traffic, self._engines = traffic, engines
        self.boot_id = secrets.token_hex(8)
        self.in_force: InForce | None = None  # None until the engines know theirs
        self.rebuilding: Mapping[str, Value] | None = None
        self.deaths: Ring[Death] = Ring(_KEPT_FAULTS)
        self._last_generation = 0
        self._restarts_s: deque[float] = deque(maxlen=_KEPT_RESTARTS)
        self._one_at_a_time = asyncio.Lock()
        self._restart: asyncio.Task[None] | None = None

    @property
    def restart_s(self) -> float | None:
        """Median time of the last restarts, from the PUT until the new server had the traffic."""
        return statistics.median(self._restarts_s) if self._restarts_s else None

    def knobs(self) -> dict[str, EngineKnob]:
        """The restart knobs that have a known value: others could not be set back."""
        known, knobs = self._engines.settings(), self._engines.knobs()
        return {name: knob for name, knob in knobs.items() if name in known and name not in LIVE}

    def begin(self) -> None:
        """The engines serve for the first time."""
        self._traffic.pool.replace(self._engines.backends())
        self._take(self._told_by_the_server())

    async def change(self, asked: SettingsChange) -> None:
        """Returns once the change counts; raises NotChangedError or ApiError (see docs)."""
        async with self._one_at_a_time:
            in_force = self._known()
            if asked.boot_id not in (None, self.boot_id) or asked.generation != in_force.generation:
                raise stale_generation(in_force.generation, self.boot_id)
            settings = updated(in_force.settings, asked.settings, self.knobs())
            if any(settings[name] != in_force.settings.get(name) for name in self.knobs()):
                await self._change_by_restart(settings)
            else:
                outage = self._engines.outage()
                if outage is not None:  # a restart may cure it, a live change can't
                    raise engine_gone(outage)
                self._take(settings)
            log.info("settings generation %d, reason %r", self._last_generation, asked.reason)

    def reload(self, old: ProxyOptions, new: ProxyOptions) -> None:
        """First values that differ from the last ones are taken over: someone wants them now."""
        self._traffic.pool.replace(self._engines.backends())
        before = {"max_concurrency": old.max_concurrency, "max_queue": old.max_queue}
        after = {"max_concurrency": new.max_concurrency, "max_queue": new.max_queue}
        if before == after:
            return
        if self.in_force is None:
            self._traffic.admission.set_limits(**after)
        else:
            changes = {name: after[name] for name in after if after[name] != before[name]}
            self._take({**self.in_force.settings, **changes})

    def on_event(self, event: EngineEvent) -> None:
        """What happened without a PUT is a new boot: logs and generations of before say nothing.

        But a person's change of a knob is what it is to a worker, too: a generation of the same
        boot, which the tuner takes for a person's word and not for settings that were lost.
        """
        if event.kind == "died":
            self._died(event.fault or Fault.CRASHED, event.message)
        log.warning("the server %s: %s", event.kind, event.message)
        self._traffic.pool.replace(self._engines.backends())
        if self.in_force is not None:
            told = self._told_by_the_server()
            if event.kind != "edited" or told == dict(self.in_force.settings):
                self.boot_id = secrets.token_hex(8)
                self._traffic.new_boot()
            self._take(told)

    async def close(self) -> None:
        """Gives a restart up that is under way."""
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)

    # ---- restarts
    async def _change_by_restart(self, settings: Mapping[str, Value]) -> None:
        if self._restart is not None:  # the last one has switched; its old server still drains
            await asyncio.wait([self._restart])
        self._last_generation += 1  # used up, whatever comes of it
        self.rebuilding = settings
        switched = asyncio.Event()
        self._restart = asyncio.create_task(
            self._run_restart(settings, self._last_generation, switched)
        )
        waiting = asyncio.create_task(switched.wait())
        try:
            # Shielded by being tasks: a client that does not wait for the answer ends nothing.
            await asyncio.wait({self._restart, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not switched.is_set():
            self._restart.result()

    async def _run_restart(
        self, settings: Mapping[str, Value], generation: int, switched: asyncio.Event
    ) -> None:
        began = self._traffic.clocks.mono()

        async def switch(backends: Sequence[Backend]) -> None:
            old = self._traffic.pool.replace(backends)
            took_s = self._traffic.clocks.mono() - began
            self._restarts_s.append(took_s)
            self._traffic.metrics.restarted("switched", took_s)
            self.rebuilding = None
            if generation == self._last_generation:
                self._put_in_force(settings, generation)
            else:  # the old server was found dead meanwhile, which took a number of its own
                self._take(settings)
            switched.set()
            await drained(old, self._traffic.options.drain_s)

        wanted = {name: value for name, value in settings.items() if name in self.knobs()}
        try:
            await self._engines.change(wanted, switch)
            if not switched.is_set():  # engines that switch nothing serve at the old place
                await switch(self._engines.backends())
        except Exception as error:
            self._failed(error)
            if not switched.is_set():
                raise _not_changed(error) from error
            self._take(self._told_by_the_server())  # nobody waits for this answer any more
        else:
            self._check_truth(settings)
        finally:
            self.rebuilding = None

    def _failed(self, error: Exception) -> None:
        log.error("the restart failed", exc_info=error)
        self._traffic.metrics.restarted("failed", None)
        self._traffic.pool.replace(self._engines.backends())

    def _check_truth(self, asked: Mapping[str, Value]) -> None:
        """The server may have taken other values than asked for: what it tells is what is so."""
        told, in_force = self._told_by_the_server(), self._known()
        if told != dict(in_force.settings):
            other = {name: told[name] for name in told if told[name] != asked.get(name)}
            log.warning("the server runs with other settings than asked for: %s", other)
            self._put_in_force(told, in_force.generation)

    # ---- what is in force
    def _died(self, fault: Fault, message: str) -> None:
        settings = {} if self.in_force is None else dict(self.in_force.settings)
        self.deaths.append(Death(self._traffic.clocks.wall(), fault.value, message, settings))
        self._traffic.metrics.died(fault)

    def _take(self, settings: Mapping[str, Value]) -> None:
        self._last_generation += 1
        self._put_in_force(settings, self._last_generation)

    def _put_in_force(self, settings: Mapping[str, Value], generation: int) -> None:
        self.in_force = InForce(dict(settings), generation, self._traffic.clocks.wall())
        self._traffic.admission.set_limits(
            int(settings["max_concurrency"]), int(settings["max_queue"])
        )
        self._traffic.generation = generation
        self._traffic.metrics.settings(generation, settings)

    def _told_by_the_server(self) -> dict[str, Value]:
        known = self._engines.settings()
        max_concurrency, max_queue = self._traffic.admission.limits
        restart: dict[str, Value] = {name: known[name] for name in self.knobs()}
        return {**restart, "max_concurrency": max_concurrency, "max_queue": max_queue}

    def _known(self) -> InForce:
        if self.in_force is None:
            raise engine_gone(self._engines.outage() or "the server is starting")
        return self.in_force


def _not_changed(error: Exception) -> Exception:
    """422 where the settings are to blame, else 503."""
    if not (isinstance(error, EngineFailedError) and error.fault.of_the_settings):
        return ApiError(503, str(error) or repr(error), code="not_applied")
    told: dict[str, Any] = {
        "type": "engine_failed",
        "fault": error.fault.value,
        "field": None,
        "value": None,
        "message": error.message,
    }
    return NotChangedError(422, told)
