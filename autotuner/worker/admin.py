"""The worker as its admin routes see it: its settings, their change, and its two logs."""

from __future__ import annotations

import logging
from typing import Any

from autotuner.fronts.admin import SettingsChange, invalid_setting, stale_generation
from autotuner.fronts.errors import ApiError, engine_gone
from autotuner.fronts.exposures import Exposure
from autotuner.fronts.ring import Ring
from autotuner.worker.live_settings import NotAppliedError, StaleGenerationError
from autotuner.worker.settings import REBUILD_KNOBS, InvalidSettingError, Limits, capabilities
from autotuner.worker.step_log import StepRecord
from autotuner.worker.worker import Worker

log = logging.getLogger(__name__)


class WorkerAdmin:
    """Implements `fronts.admin.Administered`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @property
    def boot_id(self) -> str:
        return self._worker.boot_id

    @property
    def exposures(self) -> Ring[Exposure]:
        return self._worker.front.exposures

    @property
    def steps(self) -> Ring[StepRecord]:
        return self._worker.front.steps

    def now(self) -> float:
        return self._worker.front.clocks.wall()

    def in_flight_by_generation(self) -> dict[str, int]:
        return self._worker.front.in_flight_by_generation()

    def check_ready(self) -> None:
        self._limits()

    def settings_body(self) -> dict[str, Any]:
        limits = self._limits()
        in_force, rebuilding = self._worker.settings.in_force, self._worker.settings.rebuilding
        body = {
            "generation": in_force.generation,
            "applied_at": in_force.applied_at,
            "model": self._worker.model_name,
            "settings": in_force.settings.told(limits),
            "rebuilding": None if rebuilding is None else rebuilding.told(limits),
            "capabilities": capabilities(limits),
        }
        return body | {"refused_weights": dict(limits.refused_weights)} if limits.weights else body

    async def change(self, change: SettingsChange) -> None:
        limits, outage = self._limits(), self._worker.front.outage
        # New engines may cure what keeps the old ones down; a live change can't.
        if outage is not None and not REBUILD_KNOBS.intersection(change.settings):
            raise engine_gone(outage)
        settings = self._worker.settings
        try:
            in_force = await settings.change(
                change.settings, limits, generation=change.generation, boot_id=change.boot_id
            )
        except StaleGenerationError:
            raise stale_generation(settings.in_force.generation, settings.boot_id) from None
        except InvalidSettingError as error:
            raise invalid_setting(error.field, error.value, str(error)) from None
        except NotAppliedError as error:
            raise ApiError(503, str(error), code="not_applied") from error
        log.info("settings generation %d, reason %r", in_force.generation, change.reason)

    def _limits(self) -> Limits:
        limits = self._worker.limits_now()
        if limits is None:
            raise engine_gone(self._worker.front.outage or "the engine is loading")
        return limits
