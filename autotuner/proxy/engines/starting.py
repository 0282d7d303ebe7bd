"""Brings one server up at a place, through the gates, or says why it did not come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotuner.proxy.engines.client import Client, CompletionError, Reading
from autotuner.proxy.engines.clock import Clock
from autotuner.proxy.engines.faults import Death, death
from autotuner.proxy.engines.flags import Flag, read_words, words_of
from autotuner.proxy.engines.gates import WarmUp, warm_up
from autotuner.proxy.engines.launchers.port import Launcher, LaunchError, Place
from autotuner.proxy.engines.record import Standing
from autotuner.proxy.ports import EngineFailedError, Fault, Value

_POLL_S = 0.25  # chosen: a start takes seconds to minutes
_HEALTH_S = 5.0  # chosen: for one answer of /health
_READ_S = 10.0  # chosen
# Its end is seen a moment after its connections break.
_LOOKS_FOR_AN_END = 20  # chosen
_OTHER_PORTS = 3  # chosen: so many other ports are tried when one is taken


@dataclass(frozen=True)
class Up:
    """A server that has passed the gates, and what it tells of itself."""

    standing: Standing
    reading: Reading


class Starter:
    """`flags` are those that may change; `ready_s` bounds a start up to /health."""

    def __init__(
        self,
        flags: Mapping[str, Flag],
        launcher: Launcher,
        client: Client,
        clock: Clock,
        plan: WarmUp,
        ready_s: float,
    ) -> None:
        self._flags, self._launcher, self._client = flags, launcher, client
        self._clock, self._plan, self._ready_s = clock, plan, ready_s

    async def up(self, place: Place, settings: Mapping[str, Value]) -> Up:
        """Raises EngineFailedError, after which nothing runs at the place."""
        for _ in range(_OTHER_PORTS):
            try:
                return await self._up(place, settings)
            except EngineFailedError as problem:
                other = self._launcher.elsewhere(place) if problem.fault is Fault.PORT else None
                if other is None:
                    raise
                place = other
        return await self._up(place, settings)

    async def ready(self, place: Place, settings: Mapping[str, Value]) -> Up:
        """Waits for a server that is on its way; raises EngineFailedError, and ends it then."""
        try:
            known = await self._healthy(place)
            reading = await self._warm(place, known)
            told = await self._told(place, reading)
        except LaunchError as problem:
            await self.end(place)
            raise EngineFailedError(Fault.LAUNCH, str(problem)) from problem
        except BaseException:
            await self.end(place)
            raise
        return Up(Standing(place, dict(settings), known, told), reading)

    async def read(self, place: Place) -> Up:
        """The server as it is now; its settings are what it tells. Raises LaunchError.

        Without an identity where it has ended meanwhile.
        """
        reading = await self._client.read(place.url, _READ_S)
        told = await self._told(place, reading)
        state = await self._launcher.state(place)
        identity = state.identity if state.running else None
        return Up(Standing(place, told, identity, told), reading)

    async def _told(self, place: Place, reading: Reading) -> dict[str, Value]:
        """What the running server says of its settings, over what its command line says."""
        line = await self._launcher.command_line(place)
        return read_words(line, self._flags) | dict(reading.settings)

    async def _lines(self, place: Place, identity: str | None) -> Sequence[str]:
        """The log's end; empty where it can't be read: the exit tells something, too."""
        try:
            return await self._launcher.log(place, identity)
        except LaunchError:
            return ()

    async def why(self, place: Place, identity: str | None, *, was_ready: bool) -> Death:
        """What the last run at the place died of."""
        try:
            state = await self._launcher.state(place)
        except LaunchError as problem:
            return Death(Fault.LAUNCH, str(problem))
        return death(state.exit, await self._lines(place, identity), was_ready=was_ready)

    async def stop(self, place: Place) -> None:
        """Ends what runs there; raises EngineFailedError where its keeper does not do it."""
        try:
            await self._launcher.stop(place)
        except LaunchError as problem:
            raise EngineFailedError(Fault.LAUNCH, str(problem)) from problem

    async def end(self, place: Place) -> None:
        """Ends what runs there; a keeper that can't is heard of at the next start."""
        try:
            await self._launcher.stop(place)
        except LaunchError:
            return

    async def _up(self, place: Place, settings: Mapping[str, Value]) -> Up:
        try:
            await self._launcher.start(place, words_of(settings, self._flags))
        except BaseException as problem:
            await self.end(place)
            if isinstance(problem, LaunchError):
                raise EngineFailedError(Fault.LAUNCH, str(problem)) from problem
            raise
        return await self.ready(place, settings)

    async def _healthy(self, place: Place) -> str | None:
        """Waits for /health; the identity of the run that answers. Raises EngineFailedError."""
        give_up = self._clock.now() + self._ready_s
        known: str | None = None
        while True:
            known = await self._same_run(place, known, was_ready=False)
            if await self._client.healthy(place.url, _HEALTH_S):
                return known
            if self._clock.now() >= give_up:
                lines = await self._lines(place, known)
                last = lines[-1] if lines else "it said nothing"
                raise EngineFailedError(
                    Fault.HUNG, f"not ready within {self._ready_s:.0f} s; last line: {last}"
                )
            await self._clock.sleep(_POLL_S)

    async def _same_run(self, place: Place, known: str | None, *, was_ready: bool) -> str | None:
        """The run's identity; raises EngineFailedError where it ended, also if another follows."""
        try:
            state = await self._launcher.state(place)
        except LaunchError as problem:
            raise EngineFailedError(Fault.LAUNCH, str(problem)) from problem
        if state.running and (known is None or state.identity == known):
            return state.identity
        found = await self.why(place, known or state.identity, was_ready=was_ready)
        raise EngineFailedError(found.fault, found.message)

    async def _warm(self, place: Place, known: str | None) -> Reading:
        try:
            return await warm_up(self._client, place.url, self._plan)
        except CompletionError as problem:
            raise await self._unfit(place, known, problem) from problem

    async def _unfit(
        self, place: Place, known: str | None, problem: CompletionError
    ) -> EngineFailedError:
        """Healthy, yet unable to complete: dead by now, or its log says why, or it hangs."""
        tries = 1 if problem.status is not None else _LOOKS_FOR_AN_END
        for _ in range(tries):
            try:
                await self._same_run(place, known, was_ready=True)
            except EngineFailedError as died:
                return EngineFailedError(died.fault, f"at the warm-up: {died.message}")
            await self._clock.sleep(_POLL_S)
        found = death(None, await self._lines(place, known), was_ready=True)
        if found.fault is Fault.CRASHED:  # nothing in the log explains it
            return EngineFailedError(Fault.HUNG, f"at the warm-up: {problem}")
        return EngineFailedError(found.fault, f"at the warm-up: {found.message}")
