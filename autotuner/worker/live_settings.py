"""The settings in force and their generation: how they change, and when a change counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from autotuner.worker.agreement import InForce, NotAppliedError
from autotuner.worker.messages import ApplySettings
from autotuner.worker.settings import Limits, WorkerSettings

__all__ = ["InForce", "LiveSettings", "NotAppliedError", "StaleGenerationError"]


class StaleGenerationError(Exception):
    """The caller read settings that are no longer in force (or of an earlier boot)."""


class ChangesSettings(Protocol):
    """The engines. Both calls return once the change counts, and raise NotAppliedError."""

    async def apply(self, message: ApplySettings) -> None: ...

    async def rebuild(self, message: ApplySettings) -> None: ...


class LiveSettings:
    """Serialises changes; what is in force follows only from what the engines confirm.

    Confirmations must come in on the event loop that runs `change`.
    """

    def __init__(self, boot_id: str, initial: InForce, engines: ChangesSettings) -> None:
        self.boot_id = boot_id
        self.in_force = initial
        self.rebuilding: WorkerSettings | None = None  # what a group in the making will bring
        self._engines = engines
        self._last_sent = initial.generation
        self._one_at_a_time = asyncio.Lock()

    async def change(
        self, changes: Mapping[str, Any], limits: Limits, *, generation: int, boot_id: str | None
    ) -> InForce:
        """What is in force once the engines have applied `changes` on top of `generation`.

        Live and rebuild knobs together are one change. Raises StaleGenerationError,
        InvalidSettingError (both change nothing) or NotAppliedError (a live change may still come
        to act; a rebuild will not). Equal values are a new generation too.
        """
        async with self._one_at_a_time:
            if boot_id not in (None, self.boot_id) or generation != self.in_force.generation:
                raise StaleGenerationError
            settings = self.in_force.settings.updated(changes, limits)
            self._last_sent += 1  # never reused: an unconfirmed change may still arrive
            message = ApplySettings(settings, self._last_sent)
            if self.in_force.settings.needs_rebuild(settings):
                await self._rebuild(message)
            else:
                await self._engines.apply(message)
            return self.in_force

    async def _rebuild(self, message: ApplySettings) -> None:
        self.rebuilding = message.settings
        try:
            await self._engines.rebuild(message)
        finally:
            self.rebuilding = None

    def on_in_force(self, in_force: InForce) -> None:
        """What every engine has confirmed. A late word on a change that timed out counts too."""
        self.in_force = in_force
