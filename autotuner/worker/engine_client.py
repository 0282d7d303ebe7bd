"""Keeps an engine process running: started, watched, and started again when it is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from autotuner.worker.engine_link import EngineLink, EngineTarget
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import EngineFailed, EngineReady, FromEngine, Shutdown, ToEngine

log = logging.getLogger(__name__)


class EngineListener(Protocol):
    """Told on the event loop. `on_fatal`: the first engine never got ready, so none will."""

    def on_message(self, message: FromEngine) -> None: ...

    def on_lost(self, reason: str) -> None: ...

    def on_fatal(self, reason: str) -> None: ...


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


class EngineClient:
    """The one engine of a worker. `options` is called at each start: settings may have changed."""

    def __init__(
        self,
        target: EngineTarget,
        options: Callable[[], EngineOptions],
        listener: EngineListener,
        backoff: Backoff,
    ) -> None:
        self._target, self._options, self._listener = target, options, listener
        self._backoff = backoff
        self._link: EngineLink | None = None
        self._restart: asyncio.Task[None] | None = None
        self._ready_at: float | None = None
        self._was_ready = False
        self._failures = 0
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process id of the engine, if there is one."""
        return None if self._link is None else self._link.pid

    def start(self) -> None:
        """Starts the process; EngineReady comes through the listener."""
        self._ready_at = None
        self._link = EngineLink(self._target, self._options(), self._on_message, self._on_closed)

    def send(self, message: ToEngine) -> None:
        """Queues a message; without an engine it is dropped, and `on_lost` has told so."""
        if self._link is not None:
            self._link.send(message)

    async def stop(self, grace_s: float) -> None:
        """Ends the engine and any restart; kills it after `grace_s`, at once while it loads."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)
        link, self._link = self._link, None
        if link is not None:
            link.send(Shutdown())
            await link.close(grace_s if self._ready_at is not None else 0.0)

    def _on_message(self, message: FromEngine) -> None:
        if isinstance(message, EngineFailed):
            self._lost(message.reason)
            return
        if isinstance(message, EngineReady):
            self._ready_at, self._was_ready = time.monotonic(), True
        self._listener.on_message(message)

    def _on_closed(self) -> None:
        self._lost("the engine process ended unexpectedly")

    def _lost(self, reason: str) -> None:
        link, self._link = self._link, None
        if link is None or self._stopping:
            return
        log.error("engine lost: %s", reason)
        if not self._was_ready:
            self._restart = asyncio.ensure_future(link.close(grace_s=1.0))
            self._listener.on_fatal(reason)
            return
        self._listener.on_lost(f"{reason}; it is being restarted")
        self._restart = asyncio.ensure_future(self._start_again(link))

    async def _start_again(self, lost: EngineLink) -> None:
        await lost.close(grace_s=1.0)
        steady = (
            self._ready_at is not None
            and time.monotonic() - self._ready_at >= self._backoff.steady_s
        )
        self._failures = 1 if steady else self._failures + 1
        delay_s = self._backoff.delay_s(self._failures)
        log.warning("engine exit code %s; restart in %.1f s", lost.exit_code, delay_s)
        await asyncio.sleep(delay_s)
        self.start()
