"""Puts a worker together: engine, settings, requests and metrics; HTTP stands on top of it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from autotuner.worker.chat_template import ChatTemplate
from autotuner.worker.engine_client import EngineClient
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.front import Clocks, Front
from autotuner.worker.intake import Intake
from autotuner.worker.live_settings import InForce, LiveSettings
from autotuner.worker.messages import EngineReady, FromEngine, SettingsApplied, StepOutput
from autotuner.worker.observability import WorkerMetrics
from autotuner.worker.options import WorkerOptions
from autotuner.worker.settings import InvalidSettingError, Limits
from autotuner.worker.tokens import TextTokenizer

log = logging.getLogger(__name__)


class Worker:
    """One boot of a worker; it listens to its engine. `on_fatal` hears that it can't ever serve."""

    def __init__(self, options: WorkerOptions, on_fatal: Callable[[str], None]) -> None:
        """Reads the tokenizer; raises FileNotFoundError when the model folder has none."""
        self.options = options
        self.model_name = options.engine.model.name
        self.boot_id = secrets.token_hex(8)
        self.started_at = time.time()
        self.limits: Limits | None = None
        self._on_fatal = on_fatal
        tokenizer = TextTokenizer.from_folder(options.engine.model)
        self.intake = Intake(tokenizer, ChatTemplate.from_folder(options.engine.model))
        initial = InForce(options.engine.settings, options.engine.generation, self.started_at)
        self._engine = EngineClient(
            options.engine_target, self._engine_options, self, options.backoff
        )
        self.settings = LiveSettings(self.boot_id, initial, self._engine.send)
        self.front = Front(
            options.front,
            tokenizer,
            self.settings,
            lambda running, waiting: WorkerMetrics(
                self.model_name, options.buckets, running, waiting
            ),
            self._engine.send,
            Clocks(time.time, time.monotonic),
        )
        self.front.metrics.settings(initial)

    @property
    def max_model_len(self) -> int:
        """The context's length (tokens): what the engine told, or will at most tell."""
        asked = self.options.engine.max_model_len
        return asked if self.limits is None else self.limits.max_model_len

    def start(self) -> None:
        """Starts the engine; `front.outage` is None once it is ready."""
        self._engine.start()

    async def stop(self) -> None:
        """Ends the engine; what is still in flight fails."""
        self.front.on_engine_lost("the worker is shutting down")
        await self._engine.stop(self.options.engine_grace_s)

    # ---- EngineListener
    def on_message(self, message: FromEngine) -> None:
        if isinstance(message, StepOutput):
            self.front.on_step(message)
        elif isinstance(message, SettingsApplied):
            self.settings.on_applied(message)
            self.front.metrics.settings(self.settings.in_force)
        elif isinstance(message, EngineReady):
            self._ready(message)

    def on_lost(self, reason: str) -> None:
        self.settings.on_engine_lost(reason)
        self.front.on_engine_lost(reason)

    def on_fatal(self, reason: str) -> None:
        self.on_lost(reason)
        self._on_fatal(reason)

    def _ready(self, message: EngineReady) -> None:
        log.info(
            "engine ready: %s, %s, %.1f s", self.model_name, message.weight_dtype, message.load_s
        )
        first, self.limits = self.limits is None, message.limits
        self.front.on_engine_ready()
        if first:
            self._check_initial(message.limits)

    def _check_initial(self, limits: Limits) -> None:
        """Start-up settings beyond what the engine holds are an operator's error, not a wish."""
        try:
            self.settings.in_force.settings.updated(asdict(self.settings.in_force.settings), limits)
        except InvalidSettingError as error:
            self.on_fatal(str(error))

    def _engine_options(self) -> EngineOptions:
        """A later engine starts with the settings in force and their generation."""
        now = self.settings.in_force
        return replace(self.options.engine, settings=now.settings, generation=now.generation)
