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
from autotuner.domain.telemetry import Exposure, Outcome, ProbeReading, Reading

CONTROL, TREATMENT = Settings({"max_num_seqs": 8}), Settings({"max_num_seqs": 16})
TARGETS = SLO(ttft_s=1.0)
CYCLE_S = 2.0


@dataclass(frozen=True)
class Reply:
    """How one request fares. Times in seconds from its arrival."""

    ttft_s: float | None
    e2el_s: float
    outcome: Outcome = Outcome.STOP


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
class ScriptedTarget:
    """Requests come at `rate_rps`, evenly; gauges and quality are read once a cycle and a slot."""

    script: Script
    rate_rps: float = 5.0
    gauges: Gauges = lambda _moment: {}
    quality: Quality = lambda _moment: None
    now: float = 1000.0
    generation: int = 7
    applied_at: float = 900.0
    settings: Settings = CONTROL
    number: int = 0
    unfinished: list[Exposure] = field(default_factory=list)
    finished: list[Exposure] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    probes: list[ProbeReading] = field(default_factory=list)

    def apply(self, settings: Settings) -> LiveSettings:
        self.settings, self.generation, self.applied_at = settings, self.generation + 1, self.now
        quality = self.quality(self._moment(self.now))
        if quality is not None:
            self.probes.append(ProbeReading(self.now, self.generation, 0, quality))
        return self.live()

    def live(self) -> LiveSettings:
        return LiveSettings(self.settings, self.generation, "boot", self.applied_at, self.now)

    def tick(self) -> None:
        end = self.now + CYCLE_S
        while self.rate_rps and 1000 + (self.number + 1) / self.rate_rps <= end:
            self.number += 1
            self._admit(1000 + self.number / self.rate_rps)
        self.now = end
        over = [r for r in self.unfinished if not r.arrival + r.e2el_s > end]
        self.unfinished = [r for r in self.unfinished if r.arrival + r.e2el_s > end]
        self.finished += [replace(r, generation_end=self.generation) for r in over]
        self.readings.append(Reading(self.now, self.gauges(self._moment(self.now))))

    def view(self) -> View:
        in_flight: dict[int, int] = {}
        for request in self.unfinished:
            in_flight[request.generation_start] = in_flight.get(request.generation_start, 0) + 1
        return View(
            self.live(),
            tuple(self.finished),
            in_flight,
            probes=tuple(self.probes),
            readings=tuple(self.readings),
        )

    def _moment(self, now: float) -> Moment:
        treated = self.settings == TREATMENT
        return Moment(treated, self.generation, now - self.applied_at, now, self.number)

    def _admit(self, arrival: float) -> None:
        reply = self.script(self._moment(arrival))
        self.unfinished.append(
            Exposure(
                seq=self.number, id=f"r{self.number}", generation_start=self.generation,
                generation_end=self.generation, arrival=arrival, queue_s=0.0,
                ttft_s=reply.ttft_s, tpot_s=0.02, gap_max_s=0.03, e2el_s=reply.e2el_s,
                prompt_tokens=10, output_tokens=10, outcome=reply.outcome,
            )
        )  # fmt: skip


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
        target.tick()
    raise AssertionError(f"the test never ended: {test.phase}")


def verdict(test: Experiment) -> tuple[str, str]:
    """The verdict and its reason."""
    assert test.conclusion is not None
    assert math.isfinite(test.conclusion.confidence)
    return test.conclusion.verdict.value, test.conclusion.reason
