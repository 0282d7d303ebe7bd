"""What the goal asks of the brain: what is aimed at, how it is tested, when a saving is undone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from autotuner.domain.energy import Joules
from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Design,
    Experiment,
    Guardrail,
    Slot,
    Verdict,
)
from autotuner.domain.explanation import Explanation
from autotuner.domain.goals import Goal, GoalKind, devices_of, predicted_saving
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.measures import measure
from autotuner.domain.ports import LiveSettings, Proposal, ProposalContext
from autotuner.domain.telemetry import Window
from autotuner.tuner import Action, Decision, Observation, Rules, Tuner, TunerState
from autotuner.tuner.ending import after
from autotuner.tuner.rebuilds import rebuild_s
from tests.unit.report.report_examples import Service, outcome
from tests.unit.tuner.world import NOW, PLAN, RULES, Scripted, decide, seen, state, traffic

SPACE = KnobSpace((Knob("seqs", (4, 8)), Knob("tensor_parallel_size", (1, 2, 4), live=False)))
ONE, TWO, FOUR = (Settings({"seqs": 4, "tensor_parallel_size": n}) for n in (1, 2, 4))
LIVE = LiveSettings(TWO, 1, "boot", 0.0, 100.0)
SAVING = replace(PLAN, max_pairs=30, guardrails=(Guardrail("attainment", 0.02, 0.02),))


def saving_rules(kind: GoalKind, **changes: object) -> Rules:
    plan = replace(SAVING, outcome=kind.value, price_per_hour=3.0, priced_per_device=True)
    changed = {"space": SPACE, "goal": Goal(kind, 0.95), "saving": plan, **changes}
    return replace(RULES, **changed)  # type: ignore[arg-type]


def known(**changes: object) -> TunerState:
    return state(incumbent=TWO, intended=LIVE, **changes)


def asked(
    rules: Rules, attainment: float, offer: Settings | None = ONE, **changes: object
) -> tuple[Decision, ProposalContext]:
    proposer = Scripted(offer, effect=0.3)
    world = seen(LIVE, traffic=traffic(attainment), **changes)
    return decide(known(), world, proposer, rules), proposer.shown[0]


def test_a_saving_is_tested_where_the_attainment_is_met() -> None:
    decision, context = asked(saving_rules(GoalKind.COST), 0.97)
    assert decision.action is Action.START
    assert context.goal == Goal(GoalKind.COST, 0.95)
    test = decision.state.experiment
    assert test is not None
    assert test.plan.outcome == "cost"
    assert [rail.measure for rail in test.plan.guardrails] == ["attainment"]
    assert test.plan.upkeep(Arm.CONTROL).price_per_hour == 6.0
    assert test.plan.upkeep(Arm.TREATMENT).price_per_hour == 3.0


@pytest.mark.parametrize("kind", [GoalKind.COST, GoalKind.ENERGY, GoalKind.DEVICES])
def test_the_constraint_comes_before_the_saving(kind: GoalKind) -> None:
    decision, context = asked(saving_rules(kind), 0.9, FOUR)
    assert context.goal == Goal(GoalKind.GOODPUT, 0.95)
    assert decision.state.experiment is not None
    assert decision.state.experiment.plan.outcome == "attainment"
    assert decision.state.experiment.plan.treatment_devices == 4


def test_a_load_that_is_too_much_is_no_time_to_save() -> None:
    _, context = asked(saving_rules(GoalKind.COST), 0.99, FOUR, overload="too much is forecast")
    assert context.goal.kind is GoalKind.GOODPUT


def test_a_saving_goal_rests_only_when_the_proposer_has_nothing() -> None:
    decision, _ = asked(saving_rules(GoalKind.ENERGY), 1.0, None)
    assert decision.action is Action.HOLD
    assert "lower use of energy" in decision.reason
    assert decision.state.idle_until == NOW + RULES.retry_s


def heard(**energy: Joules) -> Window:
    return Window(0.0, 10.0, 30.0, energy=energy)


@pytest.mark.parametrize(
    ("window", "why"),
    [
        (heard(), "nothing on this target measures it"),
        (heard(rapl=Joules(9.0), gpu=Joules(math.nan)), "gpu did not tell it"),
        (heard(rapl=Joules(9.0)), None),
        (None, None),  # no new scrape yet
    ],
)
def test_energy_that_is_not_known_decides_and_guards_nothing(
    window: Window | None, why: str | None
) -> None:
    by_energy, _ = asked(saving_rules(GoalKind.ENERGY), 1.0, window=window)
    rails = (Guardrail("energy_per_token", 0.1),)
    watched = replace(RULES.plan, max_pairs=30, guardrails=rails)
    guarded, _ = asked(replace(saving_rules(GoalKind.COST), plan=watched), 0.5, window=window)
    if why is None:
        assert by_energy.action is guarded.action is Action.START
        return
    assert by_energy.action is guarded.action is Action.HOLD
    assert f"the outcome energy can't pass: energy is not known: {why}" in by_energy.reason
    assert f"the guardrail energy_per_token can't pass: energy is not known: {why}" in (
        guarded.reason
    )


def test_between_two_lanes_a_guardrail_on_energy_is_no_guardrail() -> None:
    plan = replace(
        SAVING, outcome="cost", design=Design.SPLIT, guardrails=(Guardrail("energy", 0.1),)
    )
    decision, _ = asked(saving_rules(GoalKind.COST, saving=plan, replicas=2), 1.0)
    assert decision.action is Action.HOLD
    assert "the energy of two lanes can't be told apart" in decision.reason


def test_what_frees_no_device_is_not_tested_for_devices() -> None:
    decision, _ = asked(saving_rules(GoalKind.DEVICES), 1.0, TWO.with_values(seqs=8))
    assert decision.action is Action.HOLD
    assert "frees no device" in decision.reason


def test_the_expected_saving_is_a_log_ratio() -> None:
    decision, _ = asked(saving_rules(GoalKind.DEVICES), 0.97)
    assert decision.proposal is not None
    assert decision.proposal.predicted_effect == pytest.approx(math.log(2))

    class Explaining:
        def propose(self, context: ProposalContext) -> Proposal:
            why = Explanation(
                incumbent={"energy_j_per_token": 3.0}, candidate={"energy_j_per_token": 2.0}
            )
            return Proposal(ONE, "told", "so", 0.1, explanation=why)

    rules = saving_rules(GoalKind.ENERGY)
    world = seen(LIVE, traffic=traffic(0.97))
    energy = Tuner(rules, Explaining()).decide(known(), world, NOW)
    assert energy.proposal is not None
    assert energy.proposal.predicted_effect == pytest.approx(math.log(1.5))


def test_figures_that_are_missing_predict_no_saving() -> None:
    assert math.isnan(predicted_saving(GoalKind.ENERGY, {"devices": 2.0}, {"devices": 1.0}))
    assert math.isnan(predicted_saving(GoalKind.GOODPUT, {"devices": 2.0}, {"devices": 1.0}))
    cost = predicted_saving(GoalKind.COST, {"devices": 2.0}, {"devices": 1.0})
    assert cost == pytest.approx(math.log(2))
    assert devices_of({"data_parallel_size": 2, "pipeline_parallel_size": 3, "seqs": 9}) == 6


def test_devices_count_all_engines_and_what_the_target_runs_beside_its_knobs() -> None:
    running = LiveSettings({**TWO, "data_parallel_size": 2}, 1, "boot", 0.0, 100.0)
    rules = saving_rules(GoalKind.COST, replicas=2)
    proposer, world = Scripted(ONE), seen(running, traffic=traffic(0.97))
    decision = decide(state(incumbent=TWO, intended=running), world, proposer, rules)
    assert decision.state.experiment is not None
    plan = decision.state.experiment.plan
    assert (plan.control_devices, plan.treatment_devices) == (8, 4)


# ---- a saving that went too far
def _raised(control: Settings, treatment: Settings, outcome: str = "attainment") -> Experiment:
    ended = Conclusion(Verdict.ACCEPTED, "so", 8, 0.3, 0.1, 0.5, 0.97)
    plan = replace(PLAN, outcome=outcome)
    return Experiment("e", "t", control, treatment, plan, 1, 900.0).closed(ended)


def test_what_saved_too_much_is_not_asked_for_again() -> None:
    rules, nothing = saving_rules(GoalKind.COST), Observation(live=None)
    done = after(known(), _raised(ONE, TWO), nothing, NOW, rules)
    assert done.banned(NOW) == {ONE.digest}
    kept = after(known(), _raised(TWO, ONE, "cost"), nothing, NOW, rules)
    assert not kept.banned(NOW)
    goodput = after(known(), _raised(ONE, TWO), nothing, NOW, RULES)
    assert not goodput.banned(NOW)
    waits = after(known(), _raised(ONE, TWO), nothing, NOW, replace(rules, confirm=True))
    assert not waits.banned(NOW)


def test_a_past_trial_keeps_its_interval_and_what_it_measured() -> None:
    done = after(known(), _raised(TWO, ONE, "cost"), Observation(live=None), NOW, RULES)
    (trial,) = done.past
    assert (trial.low, trial.high, trial.outcome, trial.id) == (0.1, 0.5, "cost", "e")


# ---- what a restart takes
def _rebuilt(control: Settings, treatment: Settings) -> Experiment:
    arms = (Arm.CONTROL, Arm.TREATMENT, Arm.TREATMENT, Arm.CONTROL)
    starts, test = (0.0, 100.0, 170.0, 260.0), _raised(control, treatment)
    slots = [
        Slot(i, arm, i + 1, start, ended_at=start + 60)
        for i, (arm, start) in enumerate(zip(arms, starts, strict=True))
    ]
    return replace(test, slots=tuple(slots))


def test_what_a_rebuild_takes_is_seen_between_slots() -> None:
    assert rebuild_s(_rebuilt(ONE, TWO), SPACE) == 35.0  # 40 s and 30 s; the same arm is no change
    assert math.isnan(rebuild_s(_rebuilt(ONE, ONE.with_values(seqs=8)), SPACE))
    assert rebuild_s(_raised(ONE, TWO), SPACE, 12.0) == 12.0


def test_a_restart_that_ends_after_the_load_moved_is_refused() -> None:
    rules, proposer = replace(RULES, space=SPACE), Scripted(FOUR)
    late = decide(known(rebuild_s=200.0), seen(LIVE, steady_for_s=120.0), proposer, rules)
    assert late.action is Action.HOLD
    assert "takes 200 s" in late.reason
    assert "in 120 s the forecast has another load" in late.reason
    assert late.state.idle_until == NOW + RULES.retry_s
    context = proposer.shown[0]
    assert (context.rebuild_s, context.horizon_s) == (200.0, 120.0)


@pytest.mark.parametrize(
    ("took_s", "offer"),
    [(5.0, FOUR), (math.nan, FOUR), (200.0, TWO.with_values(seqs=8))],
)
def test_a_change_that_is_quick_or_live_is_tested(took_s: float, offer: Settings) -> None:
    rules = replace(RULES, space=SPACE, plan=replace(PLAN, max_pairs=30))
    world = seen(LIVE, steady_for_s=3600.0)
    decision = decide(known(rebuild_s=took_s), world, Scripted(offer), rules)
    assert decision.action is Action.START


def test_devices_are_a_figure_of_what_served_somebody() -> None:
    by = measure("devices")
    plan = replace(PLAN, control_devices=2.0, treatment_devices=1.0)
    slot = outcome(Service(0.9), np.random.default_rng(1))
    assert by.difference(slot, slot, plan) == pytest.approx(math.log(2))
    assert math.isnan(by.difference(replace(slot, requests=0), slot, plan))
    per_hour = replace(plan, price_per_hour=4.0)
    assert measure("cost").difference(slot, slot, per_hour) == 0.0
    own = replace(per_hour, priced_per_device=True)
    assert measure("cost").difference(slot, slot, own) == pytest.approx(math.log(2))
