"""The real worker: settings applied, a plan replayed to its last answer, what the worker told."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotuner.demo.play import all_steps, apply
from autotuner.demo.stage import Stage
from autotuner.domain.knobs import Value
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, StepRecord
from autotuner.load.plan import Plan
from autotuner.load.runner import LoadOptions, generate
from autotuner.targets.worker import WorkerTarget

CORES = sorted(os.sched_getaffinity(0))
SETTLE_S = 0.3
PATIENCE_S = 30.0  # a client that waits longer gives up; its request is missed


@dataclass(frozen=True)
class Block:
    """What one replay of a plan gave under some settings. Times in seconds, NaN where nothing."""

    requests: int
    good: int
    seconds: float
    ttft_mean_s: float
    gap_max_mean_s: float
    e2el_mean_s: float
    e2el_sd_s: float

    @property
    def attainment(self) -> float:
        return self.good / self.requests if self.requests else float("nan")

    @property
    def goodput_rps(self) -> float:
        return self.good / self.seconds


@dataclass
class Bench:
    """One worker on a stage, asked by nobody else while a plan is replayed."""

    stage: Stage
    url: str
    target: WorkerTarget
    cursor: int = 0

    @classmethod
    @contextmanager
    def raised(cls, folder: Path) -> Iterator[Bench]:
        """A worker with a core of its own, where there are two: load and daemon have the others."""
        with Stage(folder) as stage:
            try:
                os.sched_setaffinity(0, CORES[-1:])  # which the worker's processes inherit
                url = stage.start_worker(["--no-prefix-caching"], limit_s=300)
                os.sched_setaffinity(0, CORES[:-1] or CORES)
                yield cls(stage, url, WorkerTarget(url))
            finally:
                os.sched_setaffinity(0, CORES)

    def replay(
        self, settings: Mapping[str, Value], plan: Plan, duration_s: float, slo: SLO, seed: int
    ) -> Block:
        """Serves the plan under the settings and waits until every request has ended."""
        apply(self.target, settings, "the study's sweep")
        time.sleep(SETTLE_S)
        generation = self.target.read_settings().generation
        self._drained()
        generate(LoadOptions(self.url, plan, seed=seed, timeout_s=PATIENCE_S))
        seen = self._drained()
        mine = [e for e in seen if e.generation_start == generation]
        return block(mine, len(plan), duration_s, slo)

    def _drained(self) -> list[Exposure]:
        """All that ended since the last call, once nothing is in flight any more."""
        seen: list[Exposure] = []
        while True:
            batch = self.target.exposures(self.cursor)
            seen += batch.exposures
            self.cursor = batch.next
            if not batch.exposures and not sum(batch.in_flight.values()):
                return seen
            if not batch.exposures:
                time.sleep(0.1)

    def steps(self) -> list[StepRecord]:
        return all_steps(self.target)


def block(seen: list[Exposure], offered: int, duration_s: float, slo: SLO) -> Block:
    """The figures of one replay; what was offered and never came back counts as missed."""
    good = sum(slo.met_by(e) for e in seen)
    ended = [e for e in seen if e.served]

    def mean(values: list[float]) -> float:
        return float(np.mean(values)) if values else float("nan")

    whole = [e.e2el_s for e in ended]
    return Block(
        requests=offered,
        good=good,
        seconds=duration_s,
        ttft_mean_s=mean([e.ttft_s for e in ended if e.ttft_s is not None]),
        gap_max_mean_s=mean([e.gap_max_s for e in ended if e.gap_max_s is not None]),
        e2el_mean_s=mean(whole),
        e2el_sd_s=float(np.std(whole)) if whole else float("nan"),
    )
