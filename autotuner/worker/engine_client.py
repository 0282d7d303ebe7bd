"""Keeps one engine process: started, warmed up, watched, and started again when its owner asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import (
    AddRequest,
    EngineFailed,
    EngineReady,
    FromEngine,
    SamplingParams,
    Shutdown,
    StepOutput,
    ToEngine,
)

log = logging.getLogger(__name__)

WARM_UP_ID = "warm-up"
WARM_UP_TOKENS = 8  # chosen: enough that both a prompt's and an answer's step run once
LOST_GRACE_S = 1.0  # an engine that says why it fails ends by itself


class Link(Protocol):
    """A started engine process; the real one is `engine_link.EngineLink`."""

    @property
    def pid(self) -> int | None: ...

    @property
    def exit_code(self) -> int | None: ...

    def send(self, message: ToEngine) -> None: ...

    async def close(self, grace_s: float) -> None: ...


Connect = Callable[[EngineOptions, Callable[[FromEngine], None], Callable[[], None]], Link]


class EngineListener(Protocol):
    """Told on the event loop. A lost engine stays down until it is asked to restart."""

    def on_loaded(self, told: EngineReady) -> None: ...

    def on_ready(self, replica: int) -> None: ...

    def on_message(self, replica: int, message: FromEngine) -> None: ...

    def on_lost(self, replica: int, reason: str) -> None: ...


@dataclass(frozen=True)
class Backoff:
    """Seconds before a restart: doubled from `first_s` up to `most_s` while restarts fail.

    An engine that was ready for `steady_s` has proved itself: the next restart is a first one.
    """

    first_s: float = 0.5
    most_s: float = 30.0
    steady_s: float = 60.0

    def delay_s(self, failures: int) -> float:
        """Before the restart after the `failures`-th failure in a row (1 or more)."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))


class EngineState(Enum):
    """`WARMING`: loaded, and at its first request, which is not a user's."""

    DOWN = "down"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"


class EngineClient:
    """One replica's engine. `options` is called at each start: settings may have changed."""

    def __init__(
        self,
        replica: int,
        connect: Connect,
        options: Callable[[], EngineOptions],
        listener: EngineListener,
        backoff: Backoff,
    ) -> None:
        self.replica = replica
        self.state = EngineState.DOWN
        self._connect, self._options, self._listener = connect, options, listener
        self._backoff = backoff
        self._link: Link | None = None
        self._closing: asyncio.Task[None] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._ready_at: float | None = None
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """The process id of the engine, if there is one."""
        return None if self._link is None else self._link.pid

    def start(self) -> None:
        """Starts the process; what becomes of it comes through the listener. Raises OSError."""
        self._ready_at = None
        self._link = self._connect(self._options(), self._on_message, self._on_closed)
        self.state = EngineState.LOADING

    def send(self, message: ToEngine) -> None:
        """Queues a message; without an engine it is dropped, and `on_lost` has told so."""
        if self._link is not None:
            self._link.send(message)

    def restart(self) -> None:
        """Starts a lost engine again, after its backoff."""
        self._restarting = asyncio.ensure_future(self._start_again())

    async def stop(self, grace_s: float) -> None:
        """Ends the engine and any restart; kills it after `grace_s`, at once before it is ready."""
        if self._restarting is not None:
            self._restarting.cancel()
        link, self._link = self._link, None
        if link is not None:
            link.send(Shutdown())
            ready = self.state is EngineState.READY
            self._closing = asyncio.ensure_future(link.close(grace_s if ready else 0.0))
        self.state = EngineState.DOWN
        await self._closed()

    def _on_message(self, message: FromEngine) -> None:
        if self._link is None:  # the last words of one that counts as lost
            return
        if isinstance(message, EngineFailed):
            self._lost(message.reason)
        elif isinstance(message, EngineReady):
            self._listener.on_loaded(message)
            self._warm_up(message.limits.max_model_len)
        elif self.state is EngineState.WARMING:
            self._on_warm_up_step(message)
        else:
            self._listener.on_message(self.replica, message)

    def _warm_up(self, max_model_len: int) -> None:
        prompt = [0] * max(1, min(WARM_UP_TOKENS, max_model_len - 2))
        sampling = SamplingParams(
            max_tokens=min(2, max_model_len - len(prompt)), temperature=0.0, ignore_eos=True
        )
        self.state = EngineState.WARMING
        self.send(AddRequest(WARM_UP_ID, prompt, sampling, time.time()))

    def _on_warm_up_step(self, message: FromEngine) -> None:
        tokens = message.tokens if isinstance(message, StepOutput) else []
        for token in tokens:
            if token.finish in ("error", "abort"):
                self._lost(f"the warm-up request failed: {token.error}")
            elif token.finish is not None:
                self.state, self._ready_at = EngineState.READY, time.monotonic()
                self._listener.on_ready(self.replica)

    def _on_closed(self) -> None:
        self._lost("the engine process ended unexpectedly")

    def _lost(self, reason: str) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        log.error("engine %d lost: %s", self.replica, reason)
        self.state = EngineState.DOWN
        self._closing = asyncio.ensure_future(self._close_lost(link))
        self._listener.on_lost(self.replica, reason)

    async def _close_lost(self, link: Link) -> None:
        await link.close(LOST_GRACE_S)
        log.warning("engine %d: exit code %s", self.replica, link.exit_code)

    async def _start_again(self) -> None:
        await self._closed()
        ready_at, now = self._ready_at, time.monotonic()
        if ready_at is not None and now - ready_at >= self._backoff.steady_s:
            self._failures = 0
        while self._link is None:
            self._failures += 1
            delay_s = self._backoff.delay_s(self._failures)
            log.warning("engine %d: restart in %.1f s", self.replica, delay_s)
            await asyncio.sleep(delay_s)
            try:
                self.start()
            except OSError as error:
                log.error("engine %d can't be started: %s", self.replica, error)

    async def _closed(self) -> None:
        if self._closing is not None:
            await asyncio.wait({self._closing})
