"""A target on a virtual clock that treats requests as a script says, and a test run on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autotuner.abtest.switchback import advance, slot_started
from autotuner.abtest.view import View
from autotuner.domain.experiment import Experiment, Plan
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import ProbeReading, Reading
from tests.unit.abtest.virtual_target import CONTROL, TARGETS, TREATMENT, Reply, VirtualTarget

CYCLE_S = 2.0


@dataclass(frozen=True)
class Moment:
    """What a script may look at: who serves, for how long already, and when (virtual s)."""

    treatment: bool
    generation: int
    since_switch_s: float
    now: float
    number: int


Script = Callable[[Moment], Reply]
Gauges = Callable[[Moment], dict[str, float]]
Quality = Callable[[Moment], float | None]


@dataclass
class ScriptedTarget(VirtualTarget):
    """Gauges are read once a cycle, quality once a slot."""

    script: Script
    rate_rps: float = field(default=5.0, kw_only=True)
    gauges: Gauges = lambda _moment: {}
    quality: Quality = lambda _moment: None
    readings: list[Reading] = field(default_factory=list)
    probes: list[ProbeReading] = field(default_factory=list)

    def reply(self, arrival: float) -> Reply:
        return self.script(self._moment(arrival))

    def apply(self, settings: Settings) -> LiveSettings:
        live = super().apply(settings)
        quality = self.quality(self._moment(self.now))
        if quality is not None:
            self.probes.append(ProbeReading(self.now, self.generation, 0, quality))
        return live

    def tick(self, seconds: float) -> None:
        super().tick(seconds)
        self.readings.append(Reading(self.now, self.gauges(self._moment(self.now))))

    def view(self, boot_of_slot: int = 1) -> View:
        seen = super().view(boot_of_slot)
        return replace(seen, probes=tuple(self.probes), readings=tuple(self.readings))

    def _moment(self, now: float) -> Moment:
        treated = self.settings == TREATMENT
        return Moment(treated, self.generation, now - self.applied_at, now, self.requests)


def run(target: ScriptedTarget, plan: Plan, seed: int = 3, slo: SLO = TARGETS) -> Experiment:
    """The test as a daemon would run it, until it is closed."""
    test = Experiment("e1", "t", CONTROL, TREATMENT, plan, seed, started_at=0.0)
    for cycle in range(4000):
        step = advance(test, target.view(), cycle * CYCLE_S, slo)
        test = step.experiment
        if not test.running:
            return test
        if step.apply is not None:
            test = slot_started(test, target.apply(step.apply))
        target.tick(CYCLE_S)
    raise AssertionError(f"the test never ended: {test.phase}")


def verdict(test: Experiment) -> tuple[str, str]:
    """The verdict and its reason."""
    assert test.conclusion is not None
    assert math.isfinite(test.conclusion.confidence)
    return test.conclusion.verdict.value, test.conclusion.reason
