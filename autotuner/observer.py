"""Loads the world once per cycle into an immutable Observation. All reading happens here.

Must not decide anything: what it can't read it reports as a `problem`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotuner.domain.errors import TargetError
from autotuner.domain.experiment import Experiment
from autotuner.domain.ports import LiveSettings, MetricsSource, Target, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import (
    Exposure,
    ExposureBatch,
    Snapshot,
    StepRecord,
    Window,
)
from autotuner.metrics.window import WindowRefusedError, between
from autotuner.sidelines import Sidelines
from autotuner.tuner import Observation, Traffic

MAX_STEPS = 4000  # chosen: about two minutes of engine steps, plenty for four coefficients


@dataclass(frozen=True)
class Horizon:
    """How far back the observer looks, seconds. `stale_s`: a window longer than this is no news.

    `noise_s`: the past that tests are planned from.
    """

    observe_s: float
    stale_s: float
    noise_s: float = 0.0

    @property
    def kept_s(self) -> float:
        return max(self.observe_s, self.noise_s)


class Observer:
    """Keeps the cursors and the recent past of one target between cycles.

    `sidelines`: what else a running test is told, where the target has it.
    """

    def __init__(
        self,
        target: Target,
        metrics: MetricsSource,
        slo: SLO,
        horizon: Horizon,
        sidelines: Sidelines | None = None,
    ) -> None:
        self._target, self._metrics, self._slo, self._horizon = target, metrics, slo, horizon
        self._sidelines = sidelines or Sidelines()
        self._snapshot: Snapshot | None = None
        self._boot: str | None = None
        self._cursor = 0
        self._overrun_at: float | None = None
        self._recent: deque[Exposure] = deque()
        self._steps: deque[StepRecord] = deque(maxlen=MAX_STEPS)
        self._step_cursor = 0

    def observe(self, experiment: Experiment | None) -> Observation:
        """One reading of everything. Never raises for a target that is down or speaks nonsense."""
        try:
            live = self._target.read_settings()
            self._follow_boot(live)
            batch = self._exposures(live, experiment)
            self._read_steps()
        except TargetError as problem:
            return Observation(live=None, problem=f"the target can't be read: {problem}")
        before = self._snapshot
        window, trouble = self._window()
        fresh = self._snapshot if self._snapshot is not before else None
        beside = self._sidelines.look(experiment, live, fresh)
        return Observation(
            live=live,
            batch=batch,
            traffic=self._traffic(live),
            window=window,
            steps=tuple(self._steps),
            problem=trouble,
            probes=beside.probes,
            feedback=beside.feedback,
            readings=beside.readings,
            recent=() if experiment else self._lately(live, self._horizon.noise_s),
        )

    def _follow_boot(self, live: LiveSettings) -> None:
        """A new boot starts its logs afresh: old cursors and figures mean nothing there."""
        if live.boot_id == self._boot:
            return
        self._boot, self._cursor, self._step_cursor, self._snapshot = live.boot_id, 0, 0, None
        self._recent.clear()
        self._steps.clear()
        self._sidelines.rebooted()

    def _exposures(self, live: LiveSettings, experiment: Experiment | None) -> ExposureBatch:
        batch = self._target.exposures(self._cursor)
        self._recent.extend(batch.exposures)
        self._cursor = batch.next
        if batch.overrun:
            self._overrun_at = live.now
        began = experiment.slots[0].started_at if experiment and experiment.slots else live.now
        self._forget_before(min(began, live.now - self._horizon.kept_s))
        hole = self._overrun_at is not None and self._overrun_at >= began
        wanted = tuple(e for e in self._recent if e.arrival >= began) if experiment else ()
        return replace(batch, exposures=wanted, overrun=hole)

    def _forget_before(self, when: float) -> None:
        """Exposures come in order of their end, so long requests near the edge may stay a while."""
        while self._recent and self._recent[0].arrival < when:
            self._recent.popleft()

    def _read_steps(self) -> None:
        steps, self._step_cursor = self._target.steps(self._step_cursor)
        self._steps.extend(steps)

    def _window(self) -> tuple[Window | None, str | None]:
        """The window since the last scrape, or why there is none that can be trusted."""
        earlier = self._snapshot
        try:
            self._snapshot = self._metrics.snapshot()
        except TargetError as problem:
            return None, f"metrics can't be read: {problem}"
        if earlier is None or self._snapshot.at == earlier.at:  # the first, or no new one yet
            return None, None
        if self._snapshot.at - earlier.at > self._horizon.stale_s:
            return (
                None,
                f"metrics are stale: {self._snapshot.at - earlier.at:.0f} s between scrapes",
            )
        try:
            window = between(earlier, self._snapshot)
        except WindowRefusedError as problem:
            return None, str(problem)
        return window, None if window.valid else "latencies are not numbers though requests ended"

    def _lately(self, live: LiveSettings, seconds: float) -> tuple[Exposure, ...]:
        return tuple(e for e in self._recent if e.arrival >= live.now - seconds)

    def _traffic(self, live: LiveSettings) -> Traffic:
        recent = self._lately(live, self._horizon.observe_s)
        return summarise(recent, live, self._slo, self._horizon.observe_s)


def summarise(
    recent: Sequence[Exposure], live: LiveSettings, slo: SLO, observe_s: float
) -> Traffic:
    """The recent requests as the brain sees them: attainment of those under `live` alone.

    A request that its client gave up counts as missed once a deadline had passed, else not at
    all. The offered rate counts every arrival that has ended, whatever settings it met.
    """
    mine = [
        e
        for e in recent
        if e.generation_start == e.generation_end == live.generation and slo.counts(e)
    ]
    good = sum(slo.met_by(e) for e in mine)
    span = min(observe_s, live.now - min((e.arrival for e in recent), default=live.now))
    workload = Workload(
        rate_rps=len(recent) / span if span > 0 else 0.0,
        prompt_tokens=tuple(e.prompt_tokens for e in recent if e.served),
        output_tokens=tuple(e.output_tokens for e in recent if e.served),
    )
    attainment = good / len(mine) if mine else float("nan")
    return Traffic(requests=len(mine), attainment=attainment, workload=workload)
