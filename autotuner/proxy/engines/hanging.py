"""Whether a server hangs: it gives no sign of life for long, and then not one token when asked."""

from __future__ import annotations

from autotuner.proxy.engines.client import Client, CompletionError
from autotuner.proxy.engines.clock import Clock
from autotuner.proxy.engines.faults import Death
from autotuner.proxy.ports import Backend, Fault, InFlight

_COMPLETION_S = 30.0  # chosen: for the one completion that decides


class Hanging:
    """Looks at one server after `hung_s` of silence: of /health, or of answers while requests wait.

    The second is told by the traffic: a server that is full still sends something to somebody, and
    one without requests need not be asked. /health alone would not do: it may be answered by
    another process than the one that computes.
    """

    def __init__(self, client: Client, clock: Clock, in_flight: InFlight, hung_s: float) -> None:
        self._client, self._clock, self._in_flight = client, clock, in_flight
        self._hung_s = hung_s
        self._answered_at = clock.now()  # when it last showed that it does not hang
        self._unwell_since: float | None = None

    def begin(self) -> None:
        """Another server, or another life of it: what was before says nothing of it."""
        self._answered_at, self._unwell_since = self._clock.now(), None

    def healthy(self, *, well: bool) -> None:
        """What /health said just now."""
        if well:
            self._unwell_since = None
        elif self._unwell_since is None:
            self._unwell_since = self._clock.now()

    async def found(self, backend: Backend, model: str) -> Death | None:
        """That it hangs, and why that is so sure; None where it does not, or it is not yet time."""
        said = self._suspicion(backend)
        if said is None:
            return None
        asked_at = self._clock.now()
        try:
            await self._complete(backend, model)
        except CompletionError as problem:
            if not self._proves(problem, asked_at, backend):
                return None
            return Death(Fault.HUNG, f"{said} for {self._hung_s:.0f} s, and {problem}")
        self.begin()
        return None

    async def over(self, backend: Backend, model: str) -> bool:
        """Whether a server that was found to hang completes again."""
        try:
            await self._complete(backend, model)
        except CompletionError:
            return False
        self.begin()
        return True

    async def _complete(self, backend: Backend, model: str) -> None:
        limit_s = min(_COMPLETION_S, self._hung_s)
        await self._client.complete(backend.url, model, "Hello", 1, limit_s)

    def _suspicion(self, backend: Backend) -> str | None:
        now, since = self._clock.now(), self._unwell_since
        if since is not None and now - since >= self._hung_s:
            return "no answer of /health"
        silent_s = min(self._in_flight.silent_s(backend), now - self._answered_at)
        return "requests got no byte" if silent_s >= self._hung_s else None

    def _proves(self, problem: CompletionError, asked_at: float, backend: Backend) -> bool:
        """Not where users' requests got something meanwhile: then it is only full.

        Nor where it is well and refuses the completion: a refusal is an answer.
        """
        silent_s, unwell = self._in_flight.silent_s(backend), self._unwell_since is not None
        if silent_s == 0.0 and unwell:
            return True  # nobody asks it anything
        if problem.status is not None and not unwell:
            self.begin()
            return False
        return silent_s >= self._clock.now() - asked_at
