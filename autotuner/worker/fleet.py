"""The groups of engines behind one front: one is live, one may be in the making, old ones drain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from autotuner.worker.agreement import InForce, NotAppliedError
from autotuner.worker.engine_client import Backoff, Connect
from autotuner.worker.engine_group import BuildFailedError, EngineGroup, Outlet
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import AddRequest, ApplySettings, EngineReady, ScoreRequest

log = logging.getLogger(__name__)

RebuildOutcome = Literal["switched", "failed"]


@dataclass(frozen=True)
class Patience:
    """How long the fleet waits (s): for a live change, a new group, an old one's requests."""

    apply_s: float = 30.0
    rebuild_s: float = 300.0
    drain_s: float = 600.0
    grace_s: float = 5.0  # for an idle engine to end by itself


class FleetListener(Outlet, Protocol):
    """Told on the event loop. `on_fatal`: the first group can't be built, so none will."""

    def on_group(self, told: EngineReady) -> None: ...

    def on_serving(self, replicas: int, outage: str | None) -> None: ...

    def on_in_force(self, in_force: InForce) -> None: ...

    def on_rebuilt(self, outcome: RebuildOutcome, took_s: float) -> None: ...

    def on_fatal(self, reason: str) -> None: ...


class Fleet:
    """Builds, switches and drains groups; requests go to the live one.

    At most two groups exist at a time: a new one is begun only when the last old one has drained.
    """

    def __init__(
        self,
        options: EngineOptions,
        connect: Connect,
        listener: FleetListener,
        backoff: Backoff,
        patience: Patience,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._options, self._connect, self._listener = options, connect, listener
        self._backoff, self._patience, self._wall = backoff, patience, wall
        self._building: EngineGroup | None = None
        self._live: EngineGroup | None = None
        self._draining: dict[EngineGroup, asyncio.Task[None]] = {}
        self._boot: asyncio.Task[None] | None = None
        self._home: dict[str, EngineGroup] = {}  # of each request in flight

    # ---- what it is
    @property
    def running(self) -> int:
        """Requests in the batches of all engines, draining ones too."""
        return sum(group.running for group in self._serving_groups())

    @property
    def kv_usage(self) -> float:
        """Mean over the live group's ready replicas, 0 to 1."""
        return 0.0 if self._live is None else self._live.kv_usage

    @property
    def pids(self) -> list[int]:
        """The engines' process ids."""
        building = [] if self._building is None else [self._building]
        return [pid for group in (*self._serving_groups(), *building) for pid in group.pids]

    # ---- its life
    def start(self) -> None:
        """Begins to build the first group; what becomes of it comes through the listener."""
        self._boot = asyncio.ensure_future(self._first_group())

    async def stop(self) -> None:
        """Ends every engine, also those still loading or draining."""
        tasks = [*self._draining.values(), *(() if self._boot is None else (self._boot,))]
        for task in tasks:
            task.cancel()
        groups = [*self._serving_groups(), *(() if self._building is None else (self._building,))]
        await asyncio.gather(*(group.stop(self._patience.grace_s) for group in groups))
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _first_group(self) -> None:
        try:
            await self._build(self._options, None)
        except BuildFailedError as error:
            self._listener.on_fatal(str(error))

    # ---- settings
    async def apply(self, message: ApplySettings) -> None:
        """A live change; returns once every ready engine has confirmed. Raises NotAppliedError."""
        if self._live is None:
            raise NotAppliedError("the engines are loading")
        await self._live.apply(message, self._patience.apply_s)

    async def rebuild(self, message: ApplySettings) -> None:
        """Replaces the live group by one with these settings; returns after the switch.

        Raises NotAppliedError: the live group stays, and nothing of the new one is left.
        """
        started = time.monotonic()
        outcome: RebuildOutcome = "failed"
        try:
            await self._drained()
            spent_s = time.monotonic() - started
            options = replace(
                self._options, settings=message.settings, generation=message.generation
            )
            await self._build(options, max(0.0, self._patience.rebuild_s - spent_s))
            outcome = "switched"
        except BuildFailedError as error:
            raise NotAppliedError(f"the new engines failed, the old ones stay: {error}") from error
        finally:
            took_s = time.monotonic() - started
            log.info("rebuild to generation %d: %s, %.1f s", message.generation, outcome, took_s)
            self._listener.on_rebuilt(outcome, took_s)

    async def _drained(self) -> None:
        """Three groups at once would be too many for the memory: old ones must have gone first."""
        if not self._draining:
            return
        await asyncio.wait(self._draining.values(), timeout=self._patience.rebuild_s)
        if self._draining:
            left = sum(group.in_flight for group in self._draining)
            raise NotAppliedError(
                f"engines of an earlier change still finish {left} requests: try again later"
            )

    async def _build(self, options: EngineOptions, timeout_s: float | None) -> None:
        group = EngineGroup(
            options, self._connect, self._backoff, self._listener, self._on_group_change
        )
        self._building = group
        try:
            await group.build(timeout_s)
        finally:
            self._building = None

    def _on_group_change(self, group: EngineGroup) -> None:
        if group is self._building:
            self._switch_to(group)
        if group is self._live:
            self._tell(group)

    def _switch_to(self, group: EngineGroup) -> None:
        """In one go: no request comes between."""
        self._building = None
        old, self._live = self._live, group
        group.begin(self._wall())
        assert group.told is not None
        self._listener.on_group(group.told)
        if old is not None:
            old.retire()
            self._draining[old] = asyncio.ensure_future(self._drain(old))

    def _tell(self, group: EngineGroup) -> None:
        ready = len(group.ready)
        self._listener.on_serving(ready, None if ready else group.last_loss)
        self._listener.on_in_force(group.in_force)

    async def _drain(self, group: EngineGroup) -> None:
        try:
            await group.drain(self._patience.drain_s)
            await group.stop(self._patience.grace_s)
        finally:
            del self._draining[group]

    # ---- requests
    def add(self, request: AddRequest) -> None:
        """Sends the request to a replica of the live group, one of which must be ready."""
        self._live_for(request.request_id).add(request)

    def score(self, request: ScoreRequest) -> None:
        """Sends a text to be scored to a replica of the live group, one of which must be ready."""
        self._live_for(request.request_id).score(request)

    def abort(self, request_id: str) -> None:
        """Ends a request wherever it runs."""
        home = self._home.get(request_id)
        if home is not None:
            home.abort(request_id)

    def forget(self, request_id: str) -> None:
        """The request is over, one way or another."""
        home = self._home.pop(request_id, None)
        if home is not None:
            home.forget(request_id)

    def _live_for(self, request_id: str) -> EngineGroup:
        assert self._live is not None, "requests are taken only while a group is live"
        self._home[request_id] = self._live
        return self._live

    def _serving_groups(self) -> list[EngineGroup]:
        return [*(() if self._live is None else (self._live,)), *self._draining]
