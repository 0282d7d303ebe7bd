"""Loads the world once per cycle into an immutable Observation. All reading happens here.

Must not decide anything: what it can't read it reports as a `problem`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from autotuner.domain.errors import TargetError
from autotuner.domain.experiment import Design, Experiment
from autotuner.domain.knobs import Value
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
_MAX_GENERATIONS = 128  # remembered with their settings; chosen: an hour of slots and more


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
        self._ran: dict[int, Mapping[str, Value]] = {}  # settings by generation
        self._steps: deque[StepRecord] = deque(maxlen=MAX_STEPS)
        self._step_cursor = 0
        self._ended: ExposureBatch | None = None  # as read in this cycle, whatever failed then

    def observe(self, experiment: Experiment | None) -> Observation:
        """One reading of everything. Never raises for a target that is down or speaks nonsense."""
        self._ended = None
        try:
            live = self._target.read_settings()
            self._follow_boot(live)
            self._remember(live, experiment)
            batch = self._exposures(live, experiment)
            self._read_steps()
        except TargetError as problem:
            why = f"the target can't be read: {problem}"
            return Observation(live=None, problem=why, ended=self._ended)
        fresh, window, trouble = self._window()
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
            ended=self._ended,
        )

    def _follow_boot(self, live: LiveSettings) -> None:
        """A new boot starts its logs afresh: old cursors and figures mean nothing there."""
        if live.boot_id == self._boot:
            return
        self._boot, self._cursor, self._step_cursor, self._snapshot = live.boot_id, 0, 0, None
        self._recent.clear()
        self._ran.clear()
        self._steps.clear()
        self._sidelines.rebooted()

    def _remember(self, live: LiveSettings, experiment: Experiment | None) -> None:
        """What runs under this generation; in a split test that is no one thing."""
        if experiment is None or experiment.plan.design is Design.SWITCHBACK:
            self._ran.setdefault(live.generation, dict(live.settings))
        if len(self._ran) > _MAX_GENERATIONS:
            del self._ran[min(self._ran)]

    def _exposures(self, live: LiveSettings, experiment: Experiment | None) -> ExposureBatch:
        batch = self._ended = self._target.exposures(self._cursor)
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
        """Exposures come in order of their end: what arrived later than `when` ended later too."""
        while self._recent and self._recent[0].ended < when:
            self._recent.popleft()

    def _read_steps(self) -> None:
        steps, self._step_cursor = self._target.steps(self._step_cursor)
        self._steps.extend(steps)

    def _window(self) -> tuple[Snapshot | None, Window | None, str | None]:
        """What was read now, the window since the last scrape, or why none can be trusted."""
        earlier = self._snapshot
        try:
            read = self._metrics.snapshot()
        except TargetError as problem:
            return None, None, f"metrics can't be read: {problem}"
        if earlier is not None and read.at == earlier.at:
            # No new scrape yet. The one kept stays, with the energy that was read beside it.
            return read, None, None
        self._snapshot = read
        if earlier is None:
            return read, None, None
        if read.at - earlier.at > self._horizon.stale_s:
            return read, None, f"metrics are stale: {read.at - earlier.at:.0f} s between scrapes"
        try:
            window = between(earlier, read)
        except WindowRefusedError as problem:
            return read, None, str(problem)
        return (
            read,
            window,
            None if window.valid else "latencies are not numbers though requests ended",
        )

    def _lately(self, live: LiveSettings, seconds: float) -> tuple[Exposure, ...]:
        return tuple(e for e in self._recent if e.arrival >= live.now - seconds)

    def _traffic(self, live: LiveSettings) -> Traffic:
        """Of the requests that ended lately: where a queue is longer than the horizon, none that
        ends now arrived within it, and the daemon would see no traffic where it is needed most.
        The slots that a test gave to the settings in force tell of them too: right after it, there
        is little else, and a minute of a busy server may look like anything.
        """
        since = live.now - self._horizon.observe_s
        recent = [e for e in self._recent if e.ended >= since]
        runs = dict(live.settings)
        same = [number for number, ran in self._ran.items() if ran == runs]
        return summarise(recent, live, self._slo, self._horizon.observe_s, same)


def summarise(
    recent: Sequence[Exposure],
    live: LiveSettings,
    slo: SLO,
    observe_s: float,
    same: Collection[int] = (),
) -> Traffic:
    """The requests that ended lately as the brain sees them: attainment of those under `live`.

    `same`: earlier generations that ran the same settings.

    A request that its client gave up counts as missed once a deadline had passed, else not at
    all. The offered rate counts every request that ended, whatever settings it met, over the time
    in which they arrived.
    """
    known = {live.generation, *same}
    mine = [
        e
        for e in recent
        if e.generation_start == e.generation_end and e.generation_end in known and slo.counts(e)
    ]
    good = sum(slo.met_by(e) for e in mine)
    span_s = _arrived_within_s(recent, live.now, observe_s)
    workload = Workload(
        rate_rps=len(recent) / span_s if span_s > 0 else 0.0,
        prompt_tokens=tuple(e.prompt_tokens for e in recent if e.served),
        output_tokens=tuple(e.output_tokens for e in recent if e.served),
    )
    attainment = good / len(mine) if mine else float("nan")
    return Traffic(requests=len(mine), attainment=attainment, workload=workload)


def _arrived_within_s(recent: Sequence[Exposure], now: float, observe_s: float) -> float:
    """How long it took the requests that ended within `observe_s` to arrive, seconds.

    As long as it took them to end, less what the queue grew by meanwhile.
    """
    if not recent:
        return 0.0
    arrivals = [e.arrival for e in recent]
    ending_s = min(observe_s, now - min(arrivals))
    queues = [e.queue_s for e in sorted(recent, key=lambda e: e.ended) if e.queue_s is not None]
    growth_s = queues[-1] - queues[0] if queues else 0.0
    return max(ending_s - growth_s, max(arrivals) - min(arrivals))
