"""A split test on a scripted fleet: two machines, both arms at once, swapped by coin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from autotuner.abtest.design import arms_of
from autotuner.abtest.eprocess import log_e_paths
from autotuner.abtest.exclusion import exclude_pair
from autotuner.abtest.switchback import advance, lanes_in, slot_started, winner
from autotuner.abtest.view import View
from autotuner.domain.experiment import Arm, Design, Experiment, Phase, Plan, Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome
from tests.unit.requests_seen import SERVED

CONTROL, TREATMENT = Settings({"k": 1}), Settings({"k": 2})
TARGETS = SLO(ttft_s=1.0)
PLAN = Plan(
    slot_s=9, washout_min_s=1, washout_max_s=3, cooldown_s=1, max_pairs=12, outcome="e2el",
    prior_sd=0.02, design=Design.SPLIT,
)  # fmt: skip
CYCLE_S = 2.0
NOISE = 0.03  # of a request's time, log


@dataclass
class Fleet:
    """Two machines behind a router that gives each of them every second request.

    `faster`: by how much of its time the second machine is ahead; `gain`: so is the treatment.
    """

    faster: float = 0.0
    gain: float = 0.0
    seed: int = 1
    now: float = 1000.0
    generation: int = 2
    applied_at: float = 900.0
    boots: list[int] = field(default_factory=lambda: [1, 1])
    lanes: tuple[Settings, ...] = (CONTROL, CONTROL)
    finished: list[Exposure] = field(default_factory=list)
    fails: Callable[[Settings], bool] = lambda _settings: False

    def __post_init__(self) -> None:
        self._noise = np.random.default_rng(self.seed).normal(0, NOISE, 20_000)

    def live(self) -> LiveSettings:
        boot = "+".join(map(str, self.boots))
        return LiveSettings(self.lanes[0], self.generation, boot, self.applied_at, self.now)

    def apply(self, lanes: tuple[Settings, ...]) -> LiveSettings:
        self.lanes, self.generation, self.applied_at = lanes, self.generation + 2, self.now
        return self.live()

    def tick(self) -> None:
        for arrival in np.arange(self.now, self.now + CYCLE_S, 0.25):
            self._serve(float(arrival))
        self.now += CYCLE_S

    def restart(self, lane: int) -> None:
        self.boots[lane] += 1
        self.generation, self.applied_at = self.generation - 1, self.now

    def _serve(self, arrival: float) -> None:
        number = len(self.finished)
        lane = number % 2
        settings = self.lanes[lane]
        speed = (1 - self.faster * lane) * (1 - self.gain * (settings == TREATMENT))
        request = replace(
            SERVED,
            id=f"r{number}",
            generation_start=self.generation,
            generation_end=self.generation,
            arrival=arrival,
            e2el_s=0.2 * speed * float(np.exp(self._noise[number])),
            outcome=Outcome.ERROR if self.fails(settings) else Outcome.STOP,
            lane=lane,
        )
        self.finished.append(request)

    def view(self) -> View:
        return View(self.live(), tuple(self.finished))


Disturb = Callable[[int, Fleet, View], View]


def experiment(seed: int = 3, plan: Plan = PLAN, treatment: Settings = TREATMENT) -> Experiment:
    return Experiment("e1", "t", CONTROL, treatment, plan, seed, started_at=0.0)


def run(
    fleet: Fleet,
    test: Experiment | None = None,
    disturb: Disturb = lambda _cycle, _fleet, view: view,
) -> tuple[Experiment, list[str]]:
    """Cycles as the daemon does until the test closes; the reasons on the way."""
    test, reasons = test or experiment(), []
    for cycle in range(600):
        view = disturb(cycle, fleet, fleet.view())
        step = advance(test, view, cycle * CYCLE_S, TARGETS)
        test = step.experiment
        reasons.append(step.reason)
        if step.apply is not None:
            lanes = step.lanes or (step.apply, step.apply)
            assert lanes[0] == step.apply
            test = slot_started(test, fleet.apply(lanes))
        if not test.running:
            return test, reasons
        fleet.tick()
    raise AssertionError(f"still {test.phase}: {reasons[-1]}")


def verdict(test: Experiment) -> Verdict:
    assert test.conclusion is not None
    return test.conclusion.verdict


def plain_split(test: Experiment) -> list[float]:
    """What a split that never swaps would have seen: the second machine as the treatment."""
    by_period: dict[int, list[float]] = {}
    for slot in test.slots:
        if slot.outcome is not None:
            by_period.setdefault(slot.period, []).append(slot.outcome.e2el_mean_s)
    return [float(np.log(first / second)) for first, second in by_period.values()]


@pytest.mark.parametrize("faster", [0.02, 0.05])
def test_machines_that_differ_never_pass_for_a_gain_as_a_plain_split_would(faster: float) -> None:
    accepted = fooled = 0
    for seed in range(12):
        test, _ = run(Fleet(faster=faster, seed=seed), experiment(seed))
        accepted += verdict(test) is Verdict.ACCEPTED
        seen = np.asarray(plain_split(test))
        fooled += bool((log_e_paths(seen, PLAN.prior_sd) >= np.log(20)).any())
    assert accepted == 0
    assert fooled == 12


def test_a_difference_between_machines_cancels_exactly() -> None:
    """With no noise at all, every pair says what the treatment does and nothing of the machine."""
    for faster in (0.0, 0.05, -0.3):
        fleet = Fleet(faster=faster, gain=0.1)
        fleet._noise *= 0
        test, _ = run(fleet, experiment(plan=replace(PLAN, prior_sd=0.1)))
        assert [p.difference for p in test.pairs] == pytest.approx([-np.log(0.9)] * len(test.pairs))


@pytest.mark.parametrize("faster", [0.0, 0.05, -0.05])
def test_a_true_gain_is_found_whichever_machine_is_faster(faster: float) -> None:
    fleet = Fleet(faster=faster, gain=0.05)
    test, _ = run(fleet)
    assert verdict(test) is Verdict.ACCEPTED
    assert len(test.pairs) <= 8
    assert fleet.lanes == (TREATMENT, TREATMENT)
    assert winner(test) == TREATMENT


def test_a_loss_is_found_and_undone_on_both_lanes() -> None:
    fleet = Fleet(faster=0.05, gain=-0.05)
    test, _ = run(fleet)
    assert verdict(test) is Verdict.HARMFUL
    assert fleet.lanes == (CONTROL, CONTROL)


def test_failures_of_the_treatment_end_the_test_in_its_first_period() -> None:
    fleet = Fleet(fails=lambda settings: settings == TREATMENT)
    test, _ = run(fleet)
    assert verdict(test) is Verdict.HARMFUL
    assert len(test.slots) == 2
    assert fleet.lanes == (CONTROL, CONTROL)


def test_every_period_has_both_arms_and_a_pair_swaps_them() -> None:
    test, reasons = run(Fleet())
    assert [slot.index for slot in test.slots] == list(range(len(test.slots)))
    for slot in test.slots:
        assert slot.lane == slot.index % 2
        assert slot.arm is arms_of(3, slot.period, 2)[slot.lane]
    for pair in range(len(test.pairs)):
        a, b, c, d = test.slots[4 * pair : 4 * pair + 4]
        assert {s.pair for s in (a, b, c, d)} == {pair}
        assert (a.started_at, a.counted_from, a.ended_at) == (
            b.started_at, b.counted_from, b.ended_at,
        )  # fmt: skip
        assert (a.arm, b.arm) == (d.arm, c.arm) != (c.arm, d.arm)
    first, second = arms_of(3, 0, 2)
    assert f"next is slots 0 and 1 (pair 0) under the {first} and the {second}" in reasons[0]
    assert lanes_in(test, 0) == tuple(test.settings_of(arm) for arm in (first, second))


def test_both_slots_of_an_arm_are_in_its_outcome() -> None:
    test, _ = run(Fleet())
    slots = [slot.outcome for slot in test.slots[:4] if slot.arm is Arm.CONTROL]
    assert test.pairs[0].control.requests == sum(o.requests for o in slots if o is not None)


def test_an_aa_test_runs_one_settings_on_both_lanes() -> None:
    test, fleet = experiment(treatment=CONTROL), Fleet()
    step = advance(test, fleet.view(), 0.0, TARGETS)
    assert (step.apply, step.lanes) == (CONTROL, None)
    closed, _ = run(fleet, test)
    assert verdict(closed) is not Verdict.ACCEPTED


# ---- exclusion
def at(when: int, change: Callable[[Fleet, View], View]) -> Disturb:
    return lambda cycle, fleet, view: change(fleet, view) if cycle == when else view


def restarted(lane: int, *, known: bool = True) -> Callable[[Fleet, View], View]:
    def change(fleet: Fleet, _view: View) -> View:
        fleet.restart(lane)
        lanes = (lane,) if known else ()
        return replace(fleet.view(), boot_changed=True, restarted_lanes=lanes)

    return change


@pytest.mark.parametrize("lane", [0, 1])
@pytest.mark.parametrize("when", [1, 4, 9])  # washout, first period, second period
def test_one_replica_that_restarts_costs_the_pair_and_no_more(lane: int, when: int) -> None:
    test, _ = run(Fleet(gain=0.05), disturb=at(when, restarted(lane)))
    assert verdict(test) is Verdict.ACCEPTED
    assert test.pairs[0].index == 1
    why = [slot.excluded or "" for slot in test.slots[:4]]
    assert all(why)
    own = [text.startswith("the target restarted") for text in why]
    period = 0 if when < 6 else 1
    assert [at for at, fault in enumerate(own) if fault] == [2 * period + lane]
    assert all(slot.excluded is None for slot in test.slots[4:])
    never = [slot.generation == 0 for slot in test.slots[:4]]
    assert never == [False, False, period == 0, period == 0]


def test_where_the_restarted_lane_is_not_known_both_are_named() -> None:
    test, _ = run(Fleet(gain=0.05), disturb=at(4, restarted(1, known=False)))
    why = [slot.excluded or "" for slot in test.slots[:2]]
    assert all(text.startswith("the target restarted") for text in why)


def test_restarts_under_the_treatment_only_are_a_hard_limit() -> None:
    def crash(_cycle: int, fleet: Fleet, view: View) -> View:
        lanes = [lane for lane, runs in enumerate(fleet.lanes) if runs == TREATMENT]
        if not lanes or fleet.now - fleet.applied_at < 4:
            return view
        return restarted(lanes[0])(fleet, view)

    test, _ = run(Fleet(gain=0.05), disturb=crash)
    assert verdict(test) is Verdict.HARMFUL
    assert test.conclusion is not None
    assert "restarted in 2 treatment slots" in test.conclusion.reason


def test_somebody_who_changes_a_lane_spoils_both_slots_of_the_period() -> None:
    def drift(fleet: Fleet, view: View) -> View:
        fleet.generation += 1
        return replace(view, live=fleet.live())

    test, _ = run(Fleet(gain=0.05), disturb=at(4, drift))
    why = [slot.excluded or "" for slot in test.slots[:4]]
    assert all(text.startswith("somebody changed") for text in why[:2])
    assert all(text.startswith("its pair does not count") for text in why[2:])
    assert verdict(test) is Verdict.ACCEPTED


def test_too_few_requests_in_one_lane_cost_the_pair() -> None:
    def starve(_cycle: int, _fleet: Fleet, view: View) -> View:
        few = tuple(e for e in view.exposures if e.lane == 0 or e.arrival > 1024)
        return replace(view, exposures=few)

    test, _ = run(Fleet(gain=0.05), disturb=starve)
    assert "too few requests (0" in f"{test.slots[1].excluded}"
    assert "its pair does not count" in f"{test.slots[0].excluded}"
    assert verdict(test) is Verdict.ACCEPTED


def test_the_control_is_back_on_both_lanes_while_requests_drain() -> None:
    """Lane 0 may run the control already: the generation tells that lane 1 does not."""
    fleet, test = Fleet(gain=0.05), experiment(plan=replace(PLAN, max_pairs=7))
    while test.phase is not Phase.DRAINING:
        held = replace(fleet.view(), in_flight={fleet.generation: 1})
        step = advance(test, held, 0.0, TARGETS)
        test = step.experiment
        if test.phase is Phase.DRAINING:
            break
        if step.apply is not None:
            test = slot_started(test, fleet.apply(step.lanes or (step.apply, step.apply)))
        fleet.tick()
    assert len(test.slots) == 28
    # The apply failed: it is asked for again, whatever lane 0 runs.
    for lane_0 in (CONTROL, TREATMENT):
        fleet.lanes = (lane_0, lane_0)
        held = replace(fleet.view(), in_flight={fleet.generation: 1})
        assert advance(test, held, 0.0, TARGETS).apply == CONTROL
    fleet.apply((CONTROL, CONTROL))
    held = replace(fleet.view(), in_flight={fleet.generation - 2: 1})
    assert advance(test, held, 0.0, TARGETS).apply is None


def test_a_pair_is_excluded_whole_and_once() -> None:
    test = slot_started(experiment(), LiveSettings(CONTROL, 4, "a+b", 0.0, 0.0))
    once = exclude_pair(test, test.slots[1], "few requests", 10.0)
    assert [slot.generation for slot in once.slots] == [4, 4, 0, 0]
    assert [slot.excluded for slot in once.slots][1] == "few requests"
    assert once == exclude_pair(once, once.slots[0], "another reason", 20.0)
