"""A target that a test is run on cycle by cycle: replies by settings, faults by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autotuner.abtest.switchback import advance, slot_started
from autotuner.abtest.view import View
from autotuner.domain.experiment import Experiment, Plan
from autotuner.domain.knobs import Settings
from tests.unit.abtest.virtual_target import CONTROL, TARGETS, TREATMENT, Reply, VirtualTarget

PLAN = Plan(slot_s=20, washout_min_s=2, washout_max_s=6, cooldown_s=2, max_pairs=12)
CYCLE_S = 1.0
DRAWS = np.random.default_rng(11).random(4000)

Service = Callable[[Settings, int], Reply]


def attaining(control: float, treatment: float) -> Service:
    """Meets the SLO for these shares of the requests; which ones is drawn once and for all."""

    def serve(settings: Settings, number: int) -> Reply:
        share = treatment if settings == TREATMENT else control
        return Reply() if DRAWS[number] < share else Reply(ttft_s=1.5, e2el_s=1.9)

    return serve


@dataclass
class FakeTarget(VirtualTarget):
    """Replies by the settings that run and the number of the request."""

    serve: Service

    def reply(self, arrival: float) -> Reply:
        return self.serve(self.settings, self.requests)

    def restart(self) -> None:
        self.boot, self.generation, self.applied_at = self.boot + 1, 1, self.now
        self.unfinished.clear()


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
