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
from autotuner.domain.errors import StaleGenerationError
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, ExposureBatch, Snapshot, StepRecord


class SimulatedTarget:
    """A Target and MetricsSource over a SimulatedSystem. Its clock moves only by `advance`."""

    BOOT = "simulated"

    def __init__(self, system: SimulatedSystem, settings: Settings) -> None:
        self._system, self._settings = system, settings
        self._generation, self._applied_at = system.generation, system.now_s
        self._new: list[Exposure] = []
        self._finished = 0
        self.seen: list[tuple[float, bool]] = []  # (arrival, met) of every finished request

    def advance(self, until: float, slo: SLO) -> None:
        """Serves until `until` (s on the virtual clock)."""
        ended = self._system.advance(until)
        self._new.extend(ended)
        self._finished += len(ended)
        self.seen.extend((e.arrival, slo.met_by(e)) for e in ended)

    def read_settings(self) -> LiveSettings:
        return LiveSettings(
            self._settings, self._generation, self.BOOT, self._applied_at, self._system.now_s
        )

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:  # noqa: ARG002
        if live.generation != self._generation:
            raise StaleGenerationError(f"generation {live.generation} is not {self._generation}")
        values: dict[str, Value] = {**self._settings, **settings}
        self._generation = self._system.apply(values)
        self._settings, self._applied_at = Settings(values), self._system.now_s
        return self.read_settings()

    def exposures(self, after: int) -> ExposureBatch:
        new, self._new = tuple(self._new), []
        return ExposureBatch(
            boot_id=self.BOOT,
            now=self._system.now_s,
            next=after + len(new),
            overrun=False,
            in_flight=self._system.in_flight,
            exposures=new,
        )

    def steps(self, after: int) -> tuple[Sequence[StepRecord], int]:
        return self._system.steps(after)

    def snapshot(self) -> Snapshot:
        gauges = {"running": float(self._system.running), "waiting": float(self._system.waiting)}
        return Snapshot(self._system.now_s, {"requests": float(self._finished)}, gauges)


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
