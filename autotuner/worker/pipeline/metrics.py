"""What the pipeline counts and times, in the worker's registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Literal, get_args

from autotuner.worker.metric_maker import MetricMaker

Stage = Literal["validate", "clean", "tokenise", "features", "assemble"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Grouping = Literal["none", "length"]

STAGE_S = (
    *(1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3),
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
RATIOS = (1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)


class PipelineMetrics:
    """Must be used from one thread. A scrape asks for the cache's `entries` and `tokens`."""

    def __init__(
        self, make: MetricMaker, entries: Callable[[], int], tokens: Callable[[], int]
    ) -> None:
        seconds = make.labelled_histogram(
            "pipeline_stage_seconds",
            "Duration of a stage of the request pipeline",
            STAGE_S,
            "stage",
        )
        failures = make.labelled_counter(
            "pipeline_failures", "Requests that a stage refused or failed on", "stage"
        )
        self._seconds = {stage: seconds.labels(make.model_name, stage) for stage in STAGES}
        self._failures = {stage: failures.labels(make.model_name, stage) for stage in STAGES}
        self._hits = make.counter("tokenizer_cache_hits", "Texts whose token ids were known")
        self._queries = make.counter("tokenizer_cache_queries", "Texts looked up")
        make.gauge("tokenizer_cache_entries", "Texts whose token ids are kept").set_function(
            entries
        )
        make.gauge("tokenizer_cache_tokens", "Token ids kept").set_function(tokens)
        ratio = make.labelled_histogram(
            "padding_ratio",
            "Padded over real prompt tokens, had what waits at an arrival been padded",
            RATIOS,
            "grouping",
        )
        groupings: tuple[Grouping, ...] = get_args(Grouping)
        self._ratio = {kind: ratio.labels(make.model_name, kind) for kind in groupings}

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Times what runs inside, waits for a thread included; an exception is a failure."""
        start = perf_counter()
        try:
            yield
        except Exception:
            self._failures[stage].inc()
            raise
        finally:
            self._seconds[stage].observe(perf_counter() - start)

    def looked_up(self, *, hit: bool) -> None:
        self._queries.inc()
        self._hits.inc(hit)

    def padding(self, ungrouped: float, grouped: float) -> None:
        self._ratio["none"].observe(ungrouped)
        self._ratio["length"].observe(grouped)
