"""Metrics of the engines behind the front: replicas, rebuilds, and what the prefix cache found."""

from __future__ import annotations

from typing import get_args

from autotuner.worker.fleet import RebuildOutcome
from autotuner.worker.messages import StepOutput
from autotuner.worker.metric_maker import MetricMaker

REBUILD_S = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class FleetMetrics:
    """Counts what the fleet tells."""

    def __init__(self, make: MetricMaker) -> None:
        self._model_name = make.model_name
        self._replicas = make.gauge("engine_replicas", "Engines that are ready for requests")
        self._rebuilds = make.labelled_counter(
            "rebuilds", "Changes that took new engines, by outcome", "outcome"
        )
        self._rebuild_s = make.histogram(
            "rebuild_seconds", "Change asked for to new engines serving", REBUILD_S
        )
        self._queries = make.counter(
            "prefix_cache_queries", "Prompt tokens looked up in the prefix cache"
        )
        self._hits = make.counter("prefix_cache_hits", "Prompt tokens found in the prefix cache")
        for outcome in get_args(RebuildOutcome):  # a rate needs the zero before the first event
            self._rebuilds.labels(self._model_name, outcome)

    def replicas(self, ready: int) -> None:
        self._replicas.set(ready)

    def rebuilt(self, outcome: RebuildOutcome, took_s: float) -> None:
        """`rebuild_seconds` has the changes that came to act."""
        self._rebuilds.labels(self._model_name, outcome).inc()
        if outcome == "switched":
            self._rebuild_s.observe(took_s)

    def step(self, step: StepOutput) -> None:
        self._queries.inc(step.prefix_queries)
        self._hits.inc(step.prefix_hits)
