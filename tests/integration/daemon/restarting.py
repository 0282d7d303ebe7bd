"""A simulated target one of whose knobs takes a restart of minutes, and whose engines can fail."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.domain.errors import StaleGenerationError, TargetUnavailableError
from autotuner.domain.feasibility import EngineFault, Fault
from autotuner.domain.knobs import KnobSpace, Settings, Value
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.replay import SimulatedTarget
from autotuner.targets.memory import MemoryTarget

RESTARTS = "max_num_batched_tokens"


@dataclass
class Pending:
    settings: Settings
    due_at: float
    live: LiveSettings


@dataclass
class RestartingTarget(SimulatedTarget):
    """Answers a change of `RESTARTS` too late, as over HTTP; what came of it is read back.

    `failing`: settings whose engine does not start, with the fault. `silent`: no answer at all
    while it restarts. `tells`: whether the newer fields of the settings are told.
    """

    restart_s: float = 12.0
    failing: dict[Settings, Fault] = field(default_factory=dict)
    silent: bool = False
    tells: bool = True
    sent: list[Settings] = field(default_factory=list)

    def __init__(self, system: SimulatedSystem, space: KnobSpace, settings: Settings) -> None:
        super().__init__(system, space, settings)
        self.space, self.failing, self.sent = space, {}, []
        self.pending: Pending | None = None
        self.faults: tuple[EngineFault, ...] = ()

    @property
    def front(self) -> MemoryTarget:
        return self._front

    @property
    def running(self) -> Settings:
        return self.space.restrict(self._front.read_settings().settings)

    def advance(self, until: float, slo: SLO) -> None:
        super().advance(until, slo)
        pending = self.pending
        if pending is None or until < pending.due_at:
            return
        self.pending = None
        if fault := self.failing.get(pending.settings):
            self.fail(pending.settings, fault, until)
        else:
            super().apply(pending.settings, pending.live, "")

    def fail(self, settings: Mapping[str, Value], fault: Fault, at: float) -> None:
        name = f"{len(self.faults) + 1}"
        self.faults += (EngineFault(at, fault, "the log says so", dict(settings), name),)

    def die(self, fault: Fault, at: float, back: Settings) -> None:
        """The engine that runs ends, and another one with the settings `back` takes its place."""
        self.fail(self.running, fault, at)
        self._front.restart(back)
        self._system.apply(back)

    def read_settings(self) -> LiveSettings:
        live = super().read_settings()
        if self.silent and self.pending is not None:
            raise TargetUnavailableError("it does not answer")
        if not self.tells:
            return live
        coming = None if self.pending is None else dict(self.pending.settings)
        took_s = self.restart_s if self.sent else math.nan
        return replace(live, rebuilding=coming, restart_s=took_s, faults=self.faults, server="vllm")

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:
        runs = self._front.read_settings()
        if self.pending is not None:
            raise TargetUnavailableError("no answer: another change comes first")
        if (live.boot_id, live.generation) != (runs.boot_id, runs.generation):
            raise StaleGenerationError("somebody was faster")
        if runs.settings[RESTARTS] == settings[RESTARTS]:
            applied = super().apply(settings, live, reason)
            return replace(self.read_settings(), now=applied.now)
        self.sent.append(settings)
        self.pending = Pending(settings, runs.now + self.restart_s, live)
        raise TargetUnavailableError("no answer in time")
