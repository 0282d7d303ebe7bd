"""Who may go to the server: so many at once, the others in the order in which they came.

Must be used from one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class QueueFullError(Exception):
    """As many wait as may."""


class Admission:
    """`max_concurrency` and `max_queue` may change at any time. While held nobody is let in."""

    def __init__(self, max_concurrency: int, max_queue: int, hold_limit: int) -> None:
        self._max_concurrency, self._max_queue = max_concurrency, max_queue
        self._hold_limit = hold_limit
        self._holds = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self.running = self.waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def held(self) -> bool:
        return self._holds > 0

    @property
    def limits(self) -> tuple[int, int]:
        """The two knobs: max_concurrency, max_queue."""
        return self._max_concurrency, self._max_queue

    def set_limits(self, max_concurrency: int, max_queue: int) -> None:
        """Those who wait already stay, also where fewer may wait from now on."""
        self._max_concurrency, self._max_queue = max_concurrency, max_queue
        self._let_in()

    async def enter(self) -> None:
        """Returns when it is this request's turn; then `leave` is due. Raises QueueFullError."""
        if not self.waiting and self._has_room():
            self._count_in()
            return
        if self.waiting >= (self._hold_limit if self.held else self._max_queue):
            raise QueueFullError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:  # its client is gone
            if turn.cancelled():
                self.waiting -= 1
            else:  # it was let in just now
                self.leave()
            raise

    def leave(self) -> None:
        self.running -= 1
        if self.running == 0:
            self._idle.set()
        self._let_in()

    @asynccontextmanager
    async def hold(
        self, drain_s: float, enough: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Lets nobody in, and enters when those inside are out or had `drain_s` for it.

        Where `enough` returns, or fails, they are not waited for any longer.
        """
        self._holds += 1
        try:
            await self._emptied(drain_s, enough)
            yield
        finally:
            self._holds -= 1
            self._let_in()

    async def _emptied(self, drain_s: float, enough: Callable[[], Awaitable[None]] | None) -> None:
        if self.running == 0:
            return
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._idle.wait())]
        if enough is not None:
            waits.append(asyncio.ensure_future(enough()))
        try:
            await asyncio.wait(waits, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _has_room(self) -> bool:
        return self._holds == 0 and self.running < self._max_concurrency

    def _count_in(self) -> None:
        self.running += 1
        self._idle.clear()

    def _let_in(self) -> None:
        while self._queue and self._has_room():
            turn = self._queue.popleft()
            if not turn.done():  # else its client is gone
                self.waiting -= 1
                self._count_in()
                turn.set_result(None)
