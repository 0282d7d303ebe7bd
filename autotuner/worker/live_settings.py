"""The settings in force and their generation: how they change, and when a change counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autotuner.worker.messages import ApplySettings, SettingsApplied
from autotuner.worker.settings import Limits, WorkerSettings


class StaleGenerationError(Exception):
    """The caller read settings that are no longer in force (or of an earlier boot)."""


class NotAppliedError(Exception):
    """The engine did not confirm: it is gone or too slow. Read back before trying again."""


@dataclass(frozen=True)
class InForce:
    """Settings that the engine has applied, since `applied_at` (wall clock, s)."""

    settings: WorkerSettings
    generation: int
    applied_at: float


class LiveSettings:
    """Serialises changes; what is in force follows only from what the engine confirms.

    Confirmations must come in on the event loop that runs `change`.
    """

    def __init__(
        self, boot_id: str, initial: InForce, send: Callable[[ApplySettings], None]
    ) -> None:
        self.boot_id = boot_id
        self.in_force = initial
        self._send = send
        self._last_sent = initial.generation
        self._one_at_a_time = asyncio.Lock()
        self._waiting: asyncio.Future[None] | None = None

    async def change(
        self,
        changes: Mapping[str, Any],
        limits: Limits,
        *,
        generation: int,
        boot_id: str | None,
        timeout_s: float,
    ) -> InForce:
        """What is in force once the engine has applied `changes` on top of `generation`.

        Raises StaleGenerationError, InvalidSettingError (both change nothing) or NotAppliedError
        (the change may still come to act). Equal values are a new generation too.
        """
        async with self._one_at_a_time:
            if boot_id not in (None, self.boot_id) or generation != self.in_force.generation:
                raise StaleGenerationError
            settings = self.in_force.settings.updated(changes, limits)
            self._last_sent += 1  # never reused: an unconfirmed change may still arrive
            await self._confirmed(ApplySettings(settings, self._last_sent), timeout_s)
            return self.in_force

    async def _confirmed(self, message: ApplySettings, timeout_s: float) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            self._send(message)
            await asyncio.wait_for(self._waiting, timeout_s)
        except TimeoutError:
            raise NotAppliedError(
                f"generation {message.generation} is not confirmed after {timeout_s:g} s: "
                "read the settings back before changing them again"
            ) from None
        finally:
            self._waiting = None

    def on_applied(self, message: SettingsApplied) -> None:
        """The engine's word. A late one of a change that timed out counts as well."""
        self.in_force = InForce(message.settings, message.generation, message.at)
        waiting = self._waiting
        if waiting and not waiting.done() and message.generation == self._last_sent:
            waiting.set_result(None)

    def on_engine_lost(self, reason: str) -> None:
        """A change under way fails; what was in force is what the next engine starts with."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(NotAppliedError(reason))
