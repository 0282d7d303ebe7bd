"""The second driver of the same brain: a virtual clock over a simulated target.

The daemon, its journal and its history are the ones that run live; only the target and the clock
are simulated, so that a policy can be tried over days in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.daemon import Daemon
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import ExposureBatch, Snapshot, StepRecord
from autotuner.targets.capabilities import Capability, Choices
from autotuner.targets.memory import MemoryTarget

LOG_SIZE = 65_536  # chosen: requests between two cycles of a replay; a minute at 1000 a second


class SimulatedTarget:
    """A Target and MetricsSource over a SimulatedSystem. Its clock moves only by `advance`.

    It takes each knob of `space` at one of its levels. What ends in one `advance` must fit its
    log, or the reader sees an overrun, as on a worker.
    """

    def __init__(self, system: SimulatedSystem, space: KnobSpace, settings: Settings) -> None:
        knobs = {knob.name: Capability(Choices(knob.levels)) for knob in space}
        self._system = system
        self._front = MemoryTarget(settings, knobs, lambda: system.now_s, LOG_SIZE)
        self.seen: list[tuple[float, bool]] = []  # (arrival, met) of every finished request

    def advance(self, until: float, slo: SLO) -> None:
        """Serves until `until` (s on the virtual clock)."""
        for ended in self._system.advance(until):
            self._front.finish(ended)
            self.seen.append((ended.arrival, slo.met_by(ended)))
        self._front.set_in_flight(self._system.in_flight)

    def read_settings(self) -> LiveSettings:
        return self._front.read_settings()

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:
        applied = self._front.apply(settings, live, reason)
        self._system.apply(applied.settings)
        return applied

    def exposures(self, after: int) -> ExposureBatch:
        return self._front.exposures(after)

    def steps(self, after: int) -> tuple[Sequence[StepRecord], int]:
        return self._system.steps(after)

    def snapshot(self) -> Snapshot:
        gauges = {"running": float(self._system.running), "waiting": float(self._system.waiting)}
        return Snapshot(self._system.now_s, {"requests": float(len(self.seen))}, gauges)


@dataclass(frozen=True)
class Span:
    """What is replayed: from `start` for `length_s`, a cycle every `cycle_s` (virtual seconds)."""

    start: float
    length_s: float
    cycle_s: float
    refit_s: float


@dataclass(frozen=True)
class HourFigures:
    """One hour (or the last part of one): requests per second offered and met."""

    start: float
    offered_rps: float
    goodput_rps: float

    @property
    def attainment(self) -> float:
        return self.goodput_rps / self.offered_rps if self.offered_rps > 0 else math.nan


def drive(
    daemon: Daemon,
    target: SimulatedTarget,
    slo: SLO,
    span: Span,
    told: Callable[[float], None] = lambda _: None,
) -> None:
    """Runs the daemon over the span; `told` hears the virtual time after each cycle."""
    now, end, next_fit = span.start, span.start + span.length_s, span.start + span.refit_s
    while now < end:
        now = min(now + span.cycle_s, end)
        target.advance(now, slo)
        daemon.run_cycle(now)
        if now >= next_fit:
            daemon.watch.refit(now)
            next_fit += span.refit_s
        told(now)
    daemon.stop(now)


def hourly(seen: Sequence[tuple[float, bool]], span: Span) -> list[HourFigures]:
    """Offered rate and goodput per hour of the span, by arrival."""
    hours = math.ceil(span.length_s / 3600)
    counts: list[list[int]] = [[0, 0] for _ in range(hours)]
    for arrival, met in seen:
        hour = counts[min(int((arrival - span.start) // 3600), hours - 1)]
        hour[0] += 1
        hour[1] += met
    figures = []
    for index, (offered, good) in enumerate(counts):
        seconds = min(3600.0, span.length_s - index * 3600)
        start = span.start + index * 3600
        figures.append(HourFigures(start, offered / seconds, good / seconds))
    return figures
