"""Engines that failed: who is to blame, what is never tried again, and what runs then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from autotuner.domain.errors import SettingsRefusedError, StaleGenerationError
from autotuner.domain.experiment import Arm, Experiment, Verdict
from autotuner.domain.feasibility import EngineFault, Fault, Infeasible
from autotuner.domain.knobs import Knob, KnobSpace, Settings, Value
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.tuner import Action, Restart, Tuner, blamed, unapplied
from tests.unit.tuner.world import (
    LIVE,
    NEW,
    NOW,
    OLD,
    RULES,
    Scripted,
    asked,
    decide,
    seen,
    started,
    state,
)

LARGER = Settings({"seqs": 16, "tokens": 128})
BUILT = replace(
    RULES,
    space=KnobSpace(
        (
            Knob("seqs", (4, 8, 16, 32), live=False, memory="working"),
            Knob("tokens", (64, 128, 256)),
        )
    ),
)


def failed(
    settings: Mapping[str, Value] = NEW, fault: Fault = Fault.RUN_MEMORY, at: float = 100.0
) -> EngineFault:
    return EngineFault(at, fault, "the log", dict(settings), f"{fault}@{at}")


def died(runs: Settings, *faults: EngineFault, boot: str = "other") -> LiveSettings:
    return LiveSettings(runs, 1, boot, 101.0, 102.0, faults=faults)


def test_a_candidate_that_dies_is_harmful_and_barred_for_good() -> None:
    decision = decide(started(), seen(died(OLD, failed())))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert decision.concluded is not None
    assert decision.concluded.conclusion is not None
    assert decision.concluded.conclusion.verdict is Verdict.HARMFUL
    assert "run-memory, out of memory after its start: the log" in decision.reason
    assert decision.alert == "ExperimentHarmful"
    assert decision.state.quarantined == {NEW.digest: math.inf}
    assert decision.state.infeasible == (Infeasible(NEW, Fault.RUN_MEMORY, "the log"),)
    assert decision.state.experiment is None


def test_a_control_that_dies_ends_the_test_and_bars_nothing() -> None:
    decision = decide(started(), seen(died(OLD, failed(OLD))))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert decision.concluded is not None
    assert decision.concluded.conclusion is not None
    assert decision.concluded.conclusion.verdict is Verdict.ABORTED
    assert decision.alert == "TargetRestarted"
    assert (decision.state.quarantined, decision.state.infeasible) == ({}, ())
    assert decision.state.past == ()


@pytest.mark.parametrize(
    "fault", [failed(fault=Fault.PORT), failed(LARGER)], ids=["port", "somebody else's"]
)
def test_what_was_nobody_s_fault_costs_the_pair_alone(fault: EngineFault) -> None:
    decision = decide(started(), seen(died(OLD, fault)))
    assert decision.action is Action.CONTINUE
    assert decision.state.experiment is not None
    assert decision.state.infeasible == ()


def test_a_failure_is_looked_at_once() -> None:
    known = replace(started(), faults=frozenset({failed().id}))
    decision = decide(known, seen(replace(LIVE, faults=(failed(),))))
    assert decision.action is Action.CONTINUE
    assert decision.state.infeasible == ()


def test_while_the_target_restarts_nothing_is_sent() -> None:
    live = replace(died(NEW, failed()), rebuilding=dict(OLD))
    decision = decide(started(), seen(live))
    assert decision.apply is None
    assert decision.concluded is not None
    assert decision.state.unsettled
    back = decide(decision.state, seen(replace(live, settings=OLD, rebuilding=None)))
    assert (back.action, back.apply) == (Action.ROLLBACK, OLD)


def test_who_did_not_start_harmed_nobody() -> None:
    restart = Restart(NEW, NOW - 60, LIVE.boot_id, LIVE.generation, seen=True)
    waiting = replace(started(), restart=restart, unconfirmed=NEW)
    live = replace(LIVE, faults=(failed(fault=Fault.CRASHED),))
    decision = decide(waiting, seen(live))
    assert decision.concluded is not None
    assert decision.concluded.conclusion is not None
    assert decision.concluded.conclusion.verdict is Verdict.ABORTED
    assert decision.state.quarantined == {NEW.digest: math.inf}
    assert decision.state.restart is None


# ---- whose fault
def _test_of(control: Settings, treatment: Settings) -> Experiment:
    test = started().experiment
    assert test is not None
    return replace(test, control=control, treatment=treatment)


def test_where_both_arms_fit_it_is_the_arm_whose_slot_ran() -> None:
    test, told = _test_of(OLD, NEW), {"seqs": 4, "other": 1}
    test = replace(test, treatment=OLD.with_values(tokens=64))
    slot = replace(test.slots[0], arm=Arm.TREATMENT, started_at=90.0)
    later = replace(slot, index=1, arm=Arm.CONTROL, started_at=110.0)
    test = replace(test, slots=(slot, later))
    assert blamed(test, failed(told, at=100.0)) is Arm.TREATMENT
    assert blamed(test, failed(told, at=120.0)) is Arm.CONTROL
    assert blamed(test, failed(told, at=80.0)) is None


# ---- between tests
def test_an_incumbent_that_dies_and_comes_back_is_told_of() -> None:
    decision = decide(state(), seen(died(OLD, failed(OLD))))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert decision.alert == "TargetRestarted"
    assert "run-memory, out of memory after its start: the log" in decision.reason
    assert decision.state.quarantined == {}


def test_where_the_target_went_back_by_itself_that_is_adopted() -> None:
    """Else the incumbent would be put back, and die, again and again."""
    decision = decide(state(incumbent=NEW), seen(died(OLD, failed(NEW))))
    assert (decision.action, decision.apply) == (Action.HOLD, None)
    assert decision.state.incumbent == OLD
    assert decision.state.quarantined == {NEW.digest: math.inf}
    assert decision.alert == "TargetRestarted"
    later = decide(decision.state, seen(died(OLD, failed(NEW))), Scripted(None))
    assert later.action is Action.HOLD


def test_nobody_acts_on_it_while_paused() -> None:
    known = state(incumbent=NEW, mode=Mode.PAUSED)
    decision = decide(known, seen(died(OLD, failed(NEW))))
    assert (decision.action, decision.apply) == (Action.HOLD, None)


# ---- proposals
BAD = state(infeasible=(Infeasible(NEW, Fault.RUN_MEMORY, "the log"),))


def test_what_is_certainly_as_bad_is_not_tested_whoever_asks() -> None:
    proposer = Scripted(LARGER)
    decision = decide(BAD, seen(), proposer, BUILT)
    assert decision.action is Action.HOLD
    assert "takes at least as much memory" in decision.reason
    context = proposer.shown[0]
    assert not context.allows(LARGER)
    assert context.allows(Settings({"seqs": 4, "tokens": 64}))
    declared = decide(BAD, seen(declared=asked(seqs=16, tokens=128)), proposer, BUILT)
    assert declared.declared == 7
    assert "takes at least as much memory" in declared.reason


# ---- refused as it was applied
def test_a_refusal_of_the_engine_bars_the_candidate_for_good() -> None:
    tuner = Tuner(RULES, Scripted())
    running = started()
    decision = tuner.decide(running, seen(), NOW)
    problem = SettingsRefusedError("422: no room", "start-kv", NEW)
    after = tuner.failed(running, decision, problem, LIVE, NOW)
    assert after.quarantined == {NEW.digest: math.inf}
    assert after.infeasible == (Infeasible(NEW, Fault.START_KV, "422: no room"),)
    assert after.experiment is None
    assert after.unsettled


def test_the_end_of_a_test_tells_the_fault_in_words_with_the_line_that_decided() -> None:
    test = started().experiment
    assert test is not None
    line = "ValueError: No available memory for the cache blocks."
    refusal = SettingsRefusedError(line, "start-kv", NEW)
    told = f"engine did not start (start-kv, no room for its KV cache: {line})"
    assert unapplied(test, NEW, refusal) == f"the candidate's {told}"
    assert unapplied(test, OLD, SettingsRefusedError(line, "start-kv")) == f"the incumbent's {told}"
    for other in (SettingsRefusedError("seqs=8: too many"), StaleGenerationError("too late")):
        assert unapplied(test, NEW, other) == f"its settings could not be applied: {other}"


def test_a_ban_that_a_person_lifted_holds_no_more_and_the_others_do() -> None:
    known = BAD.without(Infeasible(LARGER, Fault.CRASHED, "another"))
    free = known.lifted(frozenset({NEW.digest, "unknown"}))
    assert free.infeasible == (Infeasible(LARGER, Fault.CRASHED, "another"),)
    assert free.quarantined == {LARGER.digest: math.inf}
    assert known.lifted(frozenset()) is known


def test_an_incumbent_whose_engine_does_not_start_is_tried_some_times_and_then_let_go() -> None:
    tuner, problem = Tuner(BUILT, Scripted(None)), SettingsRefusedError("422", "start-memory", OLD)
    live = replace(LIVE, settings=NEW)
    known = state(unsettled=True, intended=live)
    tries = 0
    while known.incumbent == OLD:
        decision = tuner.decide(known, seen(live), NOW)
        known = decision.state
        if decision.apply is not None:
            assert decision.apply == OLD
            tries += 1
            known = tuner.failed(known, decision, problem, live, NOW)
    assert tries == 3
    assert known.incumbent == NEW
    assert not known.unsettled
    assert known.quarantined == {}
