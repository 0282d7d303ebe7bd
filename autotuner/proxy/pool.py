"""Which server takes the next request: the least in flight for its weight.

Must be used from one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from autotuner.proxy.ports import Backend


class Load:
    """One server and its requests in flight."""

    def __init__(self, backend: Backend, weight: float, mono: Callable[[], float]) -> None:
        self.backend, self.weight, self._mono = backend, weight, mono
        self.in_flight = self.served = 0
        self.rests_until = 0.0
        self._heard, self._silent_since = True, 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def silent_s(self) -> float:
        """See `ports.InFlight`. Who gives up in vain and asks again later ends no silence."""
        return self._mono() - self._silent_since if self.in_flight else 0.0

    def heard(self) -> None:
        """Something of an answer came, to whichever request."""
        self._heard, self._silent_since = True, self._mono()

    def enter(self) -> None:
        if self.in_flight == 0 and self._heard:
            self._heard, self._silent_since = False, self._mono()
        self.in_flight += 1
        self.served += 1
        self._idle.clear()

    def leave(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def idle(self) -> None:
        await self._idle.wait()


class Pool:
    """`mono` is a monotonic clock (s). A weight of 0 keeps new requests away."""

    def __init__(
        self, backends: Sequence[Backend], weights: Mapping[str, float], mono: Callable[[], float]
    ) -> None:
        self._weights, self._mono = weights, mono
        self._loads: list[Load] = []
        self.replace(backends)

    @property
    def backends(self) -> list[Backend]:
        return [load.backend for load in self._loads]

    def silent_s(self, backend: Backend) -> float:
        """See `ports.InFlight`; 0 for a server that gets no requests."""
        return next((load.silent_s for load in self._loads if load.backend == backend), 0.0)

    def pick(self, tried: Collection[Load] = ()) -> Load | None:
        """The server for one request; None when all were tried or have no weight.

        One that rests is only taken when no other is left.
        """
        left = [load for load in self._loads if load.weight > 0 and load not in tried]
        if len(left) < 2:
            return left[0] if left else None
        now = self._mono()
        return min(left, key=lambda load: (load.rests_until > now, *_fullness(load)))

    def rest(self, load: Load, for_s: float) -> None:
        """It refuses connections: others are asked first for a while."""
        load.rests_until = self._mono() + for_s

    def reweigh(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        for load in self._loads:
            load.weight = weights.get(load.backend.name, 1.0)

    def replace(self, backends: Sequence[Backend]) -> list[Load]:
        """New requests go to these; returns the loads that get no more of them."""
        before = {load.backend: load for load in self._loads}
        self._loads = [before[b] if b in before else self._load(b) for b in backends]
        for load in self._loads:
            load.rests_until = 0.0
            load.heard()  # another process may answer there from now on
        return [load for load in before.values() if load not in self._loads]

    def _load(self, backend: Backend) -> Load:
        return Load(backend, self._weights.get(backend.name, 1.0), self._mono)


async def drained(loads: Sequence[Load], drain_s: float) -> None:
    """Returns when nothing is in flight there any more, or the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(drain_s):
            for load in loads:
                await load.idle()


def _fullness(load: Load) -> tuple[float, float]:
    """With the request to come; among equals the one that has served less."""
    return (load.in_flight + 1) / load.weight, load.served / load.weight
