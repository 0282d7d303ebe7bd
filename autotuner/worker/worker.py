"""Puts a worker together: engines, settings, requests and metrics; HTTP stands on top of it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from autotuner.fronts.feedback import FeedbackLog
from autotuner.worker.adapters.catalogue import Catalogue
from autotuner.worker.chat_template import ChatTemplate
from autotuner.worker.engine_link import EngineLink
from autotuner.worker.fleet import Fleet, Patience, RebuildOutcome
from autotuner.worker.fleet_metrics import FleetMetrics
from autotuner.worker.front import Clocks, Front
from autotuner.worker.live_settings import InForce, LiveSettings
from autotuner.worker.messages import EngineReady, ScoreOutput, StepOutput
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.observability import WorkerMetrics
from autotuner.worker.options import WorkerOptions
from autotuner.worker.pipeline.feature_log import FeatureLog
from autotuner.worker.pipeline.pipeline import Pipeline
from autotuner.worker.probe.assembly import make_probe
from autotuner.worker.settings import BASE, Limits
from autotuner.worker.tokens import TextTokenizer

log = logging.getLogger(__name__)


class Worker:
    """One boot of a worker; it listens to its engines. `on_fatal` hears that it can never serve."""

    def __init__(self, options: WorkerOptions, on_fatal: Callable[[str], None]) -> None:
        """Reads the tokenizer and the golden file.

        Raises FileNotFoundError when the model folder has no tokenizer, GoldenError for a golden
        file that can't be used, ModelError for a model whose adapters can't be told.
        """
        self.options = options
        self.model_name = options.engine.model.name
        self.boot_id = secrets.token_hex(8)
        self.started_at = time.time()
        self.limits: Limits | None = None
        self._on_fatal = on_fatal
        adapters = options.engine.adapters
        self._adapters = None if adapters is None else Catalogue(adapters, options.engine.model)
        tokenizer = TextTokenizer.from_folder(options.engine.model)
        initial = InForce(options.engine.settings, options.engine.generation, self.started_at)
        connect = partial(EngineLink, options.engine_target)
        self._fleet = Fleet(options.engine, connect, self, options.backoff, _patience(options))
        self.settings = LiveSettings(self.boot_id, initial, self._fleet)
        self.front = Front(
            options.front,
            tokenizer,
            self.settings,
            lambda running, waiting: WorkerMetrics(
                self.model_name, options.buckets, running, waiting
            ),
            self._fleet,
            Clocks(time.time, time.monotonic),
        )
        self.front.metrics.settings(initial)
        make = MetricMaker(self.front.metrics.registry, self.model_name)
        chat_template = ChatTemplate.from_folder(options.engine.model)
        self.probe = make_probe(
            self.front,
            options.engine.model,
            tokenizer,
            chat_template,
            self.max_model_len,
            make,
            options.golden,
        )
        self._fleet_metrics = FleetMetrics(make)
        self.pipeline = Pipeline(
            self.model_name,
            tokenizer,
            chat_template,
            options.pipeline,
            make,
            FeatureLog(time.time),
        )
        self.feedback = FeedbackLog(self.front.exposure_of, time.time, make)

    @property
    def max_model_len(self) -> int:
        """The context's length (tokens): what the engine told, or will at most tell."""
        asked = self.options.engine.max_model_len
        return asked if self.limits is None else self.limits.max_model_len

    def limits_now(self) -> Limits | None:
        """What the engines told, with the adapters that there are at this moment."""
        if self.limits is None or self._adapters is None:
            return self.limits
        found = self._adapters.look()
        # What serves stays a value, even if its folder is gone: a change of another knob names it.
        names = {*found.names, self.settings.in_force.settings.weights} - {BASE}
        weights = (BASE, *sorted(names))
        return replace(self.limits, weights=weights, refused_weights=found.refused)

    def start(self) -> None:
        """Starts the engines; `front.outage` is None once they are ready."""
        self._fleet.start()

    async def stop(self) -> None:
        """Ends the engines; what is still in flight fails."""
        self.front.fail_all("the worker is shutting down")
        self.pipeline.close()
        await self.probe.close()
        await self._fleet.stop()

    # ---- FleetListener
    def on_step(self, step: StepOutput) -> None:
        self.front.on_step(step)
        self._fleet_metrics.step(step)

    def on_score(self, output: ScoreOutput) -> None:
        self.front.on_score(output)

    def on_requests_lost(self, request_ids: Sequence[str], reason: str) -> None:
        self.front.on_requests_lost(request_ids, reason)

    def on_group(self, told: EngineReady) -> None:
        log.info("engines ready: %s, %s, %.1f s", self.model_name, told.weight_dtype, told.load_s)
        self.limits = told.limits

    def on_serving(self, replicas: int, outage: str | None) -> None:
        self._fleet_metrics.replicas(replicas)
        self.front.outage = outage

    def on_in_force(self, in_force: InForce) -> None:
        before = self.settings.in_force.settings
        self.settings.on_in_force(in_force)
        self.probe.on_rebuilt(before, in_force.settings)
        self.front.metrics.settings(in_force)

    def on_rebuilt(self, outcome: RebuildOutcome, took_s: float) -> None:
        self._fleet_metrics.rebuilt(outcome, took_s)

    def on_fatal(self, reason: str) -> None:
        self.front.fail_all(reason)
        self._on_fatal(reason)


def _patience(options: WorkerOptions) -> Patience:
    drain_s = options.group_drain_s
    return Patience(
        apply_s=options.apply_timeout_s,
        rebuild_s=options.rebuild_timeout_s,
        drain_s=options.front.request_timeout_s if drain_s is None else drain_s,
        grace_s=options.engine_grace_s,
    )
