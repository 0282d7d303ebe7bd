"""The engines that one set of rebuild knobs takes: built together, serving, drained, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Protocol

from autotuner.worker.agreement import Agreement, InForce, NotAppliedError
from autotuner.worker.engine_client import Backoff, Connect, EngineClient, EngineState
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import (
    AbortRequest,
    AddRequest,
    ApplySettings,
    EngineReady,
    FromEngine,
    ScoreOutput,
    ScoreRequest,
    SettingsApplied,
    StepOutput,
)
from autotuner.worker.router import Router
from autotuner.worker.settings import InvalidSettingError


class Outlet(Protocol):
    """Where the engines' work goes, whichever group it comes from."""

    def on_step(self, step: StepOutput) -> None: ...

    def on_score(self, output: ScoreOutput) -> None: ...

    def on_requests_lost(self, request_ids: Sequence[str], reason: str) -> None: ...


class BuildFailedError(Exception):
    """A group could not be built; its message is the reason, and nothing of it is left running."""


class Phase(Enum):
    BUILDING = "building"
    SERVING = "serving"
    DRAINING = "draining"
    ENDED = "ended"


class EngineGroup:
    """Replicas with the settings and the generation of `options`.

    `on_change` is told when it begins to serve and, while it does, when a replica comes or goes
    and when other settings are in force. Must be used from one event loop.
    """

    def __init__(
        self,
        options: EngineOptions,
        connect: Connect,
        backoff: Backoff,
        outlet: Outlet,
        on_change: Callable[[EngineGroup], None],
    ) -> None:
        self._options, self._outlet, self._on_change = options, outlet, on_change
        self._agreement = Agreement(InForce(options.settings, options.generation, 0.0))
        self._router = Router()
        self._last_steps: dict[int, StepOutput] = {}
        self._engines = [
            EngineClient(replica, connect, partial(self._starts, replica), self, backoff)
            for replica in range(options.settings.data_parallel_size)
        ]
        self._phase = Phase.BUILDING
        self._built: asyncio.Future[str | None] | None = None  # of the reason why not
        self._change: asyncio.Future[None] | None = None
        self._empty = asyncio.Event()
        self.told: EngineReady | None = None  # by the first engine that has loaded
        self.last_loss = ""  # why the engine was lost that was lost last

    # ---- what it is
    @property
    def in_force(self) -> InForce:
        return self._agreement.in_force

    @property
    def ready(self) -> list[int]:
        """The replicas that take requests."""
        return [engine.replica for engine in self._engines if engine.state is EngineState.READY]

    @property
    def pids(self) -> list[int]:
        return [engine.pid for engine in self._engines if engine.pid is not None]

    @property
    def running(self) -> int:
        """Requests in the batches, as the last steps told."""
        return sum(step.running for step in self._last_steps.values())

    @property
    def kv_usage(self) -> float:
        """Mean over the ready replicas, 0 to 1; one that has made no step yet uses nothing."""
        used = sum(step.kv_usage for step in self._last_steps.values())
        return used / max(1, len(self.ready))

    @property
    def in_flight(self) -> int:
        return len(self._router)

    # ---- its life
    async def build(self, timeout_s: float | None) -> None:
        """Starts the engines; returns once all have answered a warm-up request, and it serves.

        Raises BuildFailedError when one does not within `timeout_s` (None: as long as it takes).
        """
        built = self._built = asyncio.get_running_loop().create_future()
        try:
            for engine in self._engines:
                engine.start()
            await asyncio.wait({built}, timeout=timeout_s)
            reason = built.result() if built.done() else f"not ready within {timeout_s:.3g} s"
        except OSError as error:
            reason = f"a process can't be started: {error}"
        finally:
            if self._phase is Phase.BUILDING:
                await self.stop(0.0)
        if reason is not None:
            raise BuildFailedError(reason)

    def begin(self, now: float) -> None:
        """The settings that it was built with act from `now` on (wall clock, s)."""
        self._agreement.begin(now)

    def retire(self) -> None:
        """From here on it gets no requests, and an engine that is lost stays so."""
        self._phase = Phase.DRAINING
        self._give_up_change("other engines have taken over")
        self._see_if_empty()

    async def drain(self, limit_s: float) -> None:
        """Returns when nothing is in flight any more; what is after `limit_s` is lost."""
        idle = [engine for engine in self._engines if engine.state is not EngineState.READY]
        await asyncio.gather(*(engine.stop(0.0) for engine in idle))
        try:
            async with asyncio.timeout(limit_s):
                await self._empty.wait()
        except TimeoutError:
            for engine in self._engines:
                lost = self._router.lost(engine.replica)
                self._outlet.on_requests_lost(lost, f"not finished {limit_s:g} s after a rebuild")

    async def stop(self, grace_s: float) -> None:
        """Ends all engines; kills what has not ended after `grace_s`."""
        self._phase = Phase.ENDED
        self._give_up_change("the engines are being ended")
        if self._built is not None:
            self._end_build("the engines are being ended")
        await asyncio.gather(*(engine.stop(grace_s) for engine in self._engines))

    # ---- requests
    def add(self, request: AddRequest) -> None:
        """Sends the request to a ready replica: there must be one."""
        prompt = request.prompt_token_ids
        tokens = len(prompt) + request.sampling.max_tokens
        replica = self._router.route(request.request_id, prompt, tokens, self.ready)
        self._engines[replica].send(request)

    def score(self, request: ScoreRequest) -> None:
        """Sends a text to be scored to the least loaded replica."""
        tokens = len(request.token_ids)
        replica = self._router.route(request.request_id, (), tokens, self.ready)
        self._engines[replica].send(request)

    def abort(self, request_id: str) -> None:
        replica = self._router.replica_of(request_id)
        if replica is not None:
            self._engines[replica].send(AbortRequest(request_id))

    def forget(self, request_id: str) -> None:
        """The request is over, one way or another."""
        self._router.ended(request_id)
        self._see_if_empty()

    # ---- live settings
    async def apply(self, message: ApplySettings, timeout_s: float) -> None:
        """Returns once every ready replica has confirmed; raises NotAppliedError."""
        if not self.ready:
            raise NotAppliedError("no engine is ready")
        self._agreement.want(message)
        self._change = asyncio.get_running_loop().create_future()
        for replica in self.ready:
            self._engines[replica].send(message)
        try:
            async with asyncio.timeout(timeout_s):
                await self._change
        except TimeoutError:
            raise NotAppliedError(
                f"generation {message.generation} is not confirmed after {timeout_s:g} s: "
                "read the settings back before changing them again"
            ) from None
        finally:
            self._change = None

    # ---- EngineListener
    def on_loaded(self, told: EngineReady) -> None:
        """A build fails on settings that are beyond what the engine holds."""
        self.told = self.told or told
        if self._phase is not Phase.BUILDING:
            return
        settings = self._options.settings
        try:
            settings.updated(settings.told(told.limits), told.limits)
        except InvalidSettingError as error:
            self._end_build(str(error))

    def on_ready(self, replica: int) -> None:
        self._agreement.joined(replica)
        if self._agreement.is_behind(replica):
            self._engines[replica].send(self._agreement.wanted)
        if self._phase is Phase.SERVING:
            self._changed()
        elif len(self.ready) == len(self._engines):
            self._end_build(None)

    def on_message(self, replica: int, message: FromEngine) -> None:
        match message:
            case StepOutput():
                self._last_steps[replica] = message
                self._outlet.on_step(message)
            case ScoreOutput():
                self._outlet.on_score(message)
            case SettingsApplied():
                if self._agreement.confirmed(replica, message):
                    self._changed()
            case _:
                raise TypeError(f"message {message!r}: not one of a ready engine")

    def on_lost(self, replica: int, reason: str) -> None:
        self._last_steps.pop(replica, None)
        if self._phase is Phase.BUILDING:
            self._end_build(reason)
            return
        if self._phase is Phase.SERVING:
            reason += "; it is being restarted"
            self._engines[replica].restart()
        self.last_loss = reason
        self._agreement.left(replica)
        if not self.ready:
            self._give_up_change(reason)
        self._changed()
        self._outlet.on_requests_lost(self._router.lost(replica), reason)
        self._see_if_empty()

    def _starts(self, replica: int) -> EngineOptions:
        now = self._agreement.starts(replica)
        return replace(
            self._options, settings=now.settings, generation=now.generation, replica=replica
        )

    def _end_build(self, reason: str | None) -> None:
        assert self._built is not None
        if self._built.done():
            return
        self._built.set_result(reason)
        if reason is None:
            self._phase = Phase.SERVING
            self._on_change(self)

    def _changed(self) -> None:
        confirmed = self._agreement.wanted.generation <= self.in_force.generation
        if self._change is not None and not self._change.done() and confirmed:
            self._change.set_result(None)
        if self._phase is Phase.SERVING:
            self._on_change(self)

    def _give_up_change(self, reason: str) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_exception(NotAppliedError(reason))

    def _see_if_empty(self) -> None:
        if not len(self._router):
            self._empty.set()
        else:
            self._empty.clear()
