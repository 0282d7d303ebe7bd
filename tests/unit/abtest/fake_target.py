"""A target that a test is run on cycle by cycle: replies by settings, faults by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from autotuner.abtest.switchback import (
    advance,
    slot_started,
)
from autotuner.abtest.view import View
from autotuner.domain.experiment import Experiment, Plan
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome

CONTROL, TREATMENT = Settings({"max_num_seqs": 8}), Settings({"max_num_seqs": 16})
TARGETS = SLO(ttft_s=1.0)
PLAN = Plan(slot_s=20, washout_min_s=2, washout_max_s=6, cooldown_s=2, max_pairs=12)
CYCLE_S = 1.0
DRAWS = np.random.default_rng(11).random(4000)


@dataclass(frozen=True)
class Reply:
    """How the scripted target treats a request."""

    ttft_s: float | None = 0.2
    e2el_s: float = 0.8
    outcome: Outcome = Outcome.STOP


Service = Callable[[Settings, int], Reply]


def attaining(control: float, treatment: float) -> Service:
    """Meets the SLO for these shares of the requests; which ones is drawn once and for all."""

    def serve(settings: Settings, number: int) -> Reply:
        share = treatment if settings == TREATMENT else control
        return Reply() if DRAWS[number] < share else Reply(ttft_s=1.5, e2el_s=1.9)

    return serve


@dataclass
class FakeTarget:
    """A target with a virtual clock, its own boot and generation, and an exposure log."""

    serve: Service
    rate_rps: float = 2.0
    now: float = 1000.0
    boot: int = 1
    generation: int = 7
    applied_at: float = 900.0
    settings: Settings = CONTROL
    requests: int = 0
    unfinished: list[Exposure] = field(default_factory=list)
    finished: list[Exposure] = field(default_factory=list)

    def live(self) -> LiveSettings:
        return LiveSettings(
            self.settings, self.generation, str(self.boot), self.applied_at, self.now
        )

    def apply(self, settings: Settings) -> LiveSettings:
        self.settings, self.generation, self.applied_at = settings, self.generation + 1, self.now
        return self.live()

    def tick(self, seconds: float) -> None:
        end = self.now + seconds
        while self.rate_rps and 1000 + (self.requests + 1) / self.rate_rps <= end:
            self.requests += 1
            self._admit(1000 + self.requests / self.rate_rps)
        self.now = end
        for request in [r for r in self.unfinished if r.arrival + r.e2el_s <= end]:
            self.unfinished.remove(request)
            self.finished.append(replace(request, generation_end=self.generation))

    def restart(self) -> None:
        self.boot, self.generation, self.applied_at = self.boot + 1, 1, self.now
        self.unfinished.clear()

    def _admit(self, arrival: float) -> None:
        reply = self.serve(self.settings, self.requests)
        self.unfinished.append(
            Exposure(
                seq=self.requests,
                id=f"r{self.requests}",
                generation_start=self.generation,
                generation_end=self.generation,
                arrival=arrival,
                queue_s=0.0,
                ttft_s=reply.ttft_s,
                tpot_s=0.02,
                gap_max_s=0.03,
                e2el_s=reply.e2el_s,
                prompt_tokens=10,
                output_tokens=10,
                outcome=reply.outcome,
            )
        )

    def view(self, boot_of_slot: int) -> View:
        in_flight: dict[int, int] = {}
        for request in self.unfinished:
            in_flight[request.generation_start] = in_flight.get(request.generation_start, 0) + 1
        changed = self.boot != boot_of_slot
        return View(self.live(), tuple(self.finished), in_flight, boot_changed=changed)


Disturb = Callable[[int, FakeTarget, View], View]


def experiment(seed: int = 3, plan: Plan = PLAN) -> Experiment:
    return Experiment("e1", "t", CONTROL, TREATMENT, plan, seed, started_at=0.0)


def run(
    target: FakeTarget,
    test: Experiment | None = None,
    disturb: Disturb = lambda _cycle, _target, view: view,
    cycles: int = 1500,
) -> tuple[Experiment, list[str]]:
    """Cycles as the daemon does until the test closes; the reasons on the way."""
    test, boot, reasons = test or experiment(), target.boot, []
    for cycle in range(cycles):
        step = advance(test, disturb(cycle, target, target.view(boot)), cycle * CYCLE_S, TARGETS)
        test = step.experiment
        reasons.append(step.reason)
        if step.apply is not None:
            live, boot = target.apply(step.apply), target.boot
            test = slot_started(test, live)
        if not test.running:
            return test, reasons
        target.tick(CYCLE_S)
    raise AssertionError(f"still {test.phase} after {cycles} cycles: {reasons[-1]}")
