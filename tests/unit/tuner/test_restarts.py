"""A restart under way: waited for within its bound, never sent twice, and what it comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.domain.errors import StaleGenerationError
from autotuner.domain.experiment import Design, Phase, Verdict
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.tuner import Action, Decision, Restart, Tuner, TunerState
from tests.unit.tuner.world import (
    LIVE,
    NEW,
    NOW,
    OLD,
    RULES,
    UNANSWERED,
    Scripted,
    decide,
    seen,
    state,
)

SPACE = KnobSpace((Knob("seqs", (4, 8, 16, 32), live=False), Knob("tokens", (64, 128, 256))))
BUILT = replace(RULES, space=SPACE, restart_max_s=600.0)
TUNER = Tuner(BUILT, Scripted())
NOBODY = seen(live=None, batch=None, traffic=None, problem="no answer")


def rebuilding(into: Settings = NEW, **changes: object) -> LiveSettings:
    return replace(LIVE, rebuilding=dict(into), **changes)  # type: ignore[arg-type]


def sent(now: float = NOW, **changes: object) -> TunerState:
    """A test whose first slot is the candidate's, which takes a restart; nobody answered."""
    start = decide(state(), seen(), policy=BUILT, now=now)
    assert start.state.experiment is not None
    start = replace(start, apply=NEW)
    return replace(TUNER.failed(state(), start, UNANSWERED, LIVE, now), **changes)  # type: ignore[arg-type]


def at(later_s: float, known: TunerState, live: LiveSettings | None) -> Decision:
    world = NOBODY if live is None else seen(live)
    return decide(known, world, policy=BUILT, now=NOW + later_s)


def test_a_test_whose_first_slot_takes_a_restart_waits_for_it() -> None:
    known = sent()
    assert known.experiment is not None
    assert known.experiment.phase is Phase.PLANNED
    assert (known.unconfirmed, known.unsettled) == (NEW, False)
    assert known.restart == Restart(NEW, NOW, "boot", 1)
    held = at(30, known, rebuilding())
    assert (held.action, held.apply, held.alert) == (Action.HOLD, None, None)
    assert "restarting into seqs 4→8" in held.reason
    assert "30 s so far" in held.reason
    assert held.state.restart == replace(known.restart, seen=True)


def test_once_it_is_over_the_slot_begins_and_nobody_is_taken_for_a_person() -> None:
    waited = at(30, sent(), rebuilding()).state
    came = at(60, waited, replace(LIVE, settings=NEW, generation=2))
    assert came.action is Action.CONTINUE
    assert came.opens_slot
    assert came.alert is None
    assert came.state.restart is None
    assert came.state.incumbent == OLD


def test_what_was_not_taken_is_no_restart() -> None:
    decision = Decision(Action.CONTINUE, "next", sent(), apply=NEW, opens_slot=True)
    for problem, live in ((StaleGenerationError("409"), LIVE), (UNANSWERED, None)):
        assert TUNER.failed(sent(), decision, problem, live, NOW).restart is None
    quick = replace(decision, apply=OLD.with_values(tokens=64))
    assert TUNER.failed(sent(), quick, UNANSWERED, LIVE, NOW).restart is None


# ---- no answer at all
def test_no_answer_is_no_outage_while_it_restarts() -> None:
    held = at(599, sent(), None)
    assert (held.action, held.alert) == (Action.HOLD, None)
    assert "no answer yet" in held.reason
    assert held.state.down_since is None


def test_after_the_bound_it_is_one_and_its_clock_starts_then() -> None:
    held = at(601, sent(), None)
    assert held.alert == "TargetDown"
    assert held.state.restart is None
    assert held.state.down_since == NOW + 601


def test_without_a_restart_an_outage_is_one_at_once() -> None:
    assert at(1, state(), None).alert == "TargetDown"


# ---- it comes to nothing
def test_a_target_that_came_back_as_it_was_ends_the_test() -> None:
    waited = at(30, sent(), rebuilding()).state
    over = at(60, waited, LIVE)
    assert (over.action, over.apply) == (Action.HOLD, None)
    assert "does not say why" in over.reason
    assert over.concluded is not None
    assert over.concluded.conclusion is not None
    assert over.concluded.conclusion.verdict is Verdict.ABORTED
    assert over.state.quarantined == {NEW.digest: NOW + 60 + RULES.quarantine_s}
    assert over.state.unsettled


def test_what_was_never_seen_to_begin_is_sent_again_some_times() -> None:
    known, tries = sent(), 1
    while known.experiment is not None:
        decision = at(10, known, LIVE)
        known = decision.state
        if decision.apply is not None:
            tries += 1
            decision = replace(decision, apply=NEW)
            known = TUNER.failed(known, decision, UNANSWERED, LIVE, NOW)
    assert tries == 3


def test_a_restart_longer_than_its_bound_ends_the_test_and_is_still_waited_for() -> None:
    over = at(601, sent(), rebuilding())
    assert over.concluded is not None
    assert "longer than restart_max_s=600" in over.reason
    assert over.apply is None
    waits = at(700, over.state, rebuilding())
    assert (waits.action, waits.apply) == (Action.HOLD, None)
    back = at(800, waits.state, replace(LIVE, settings=NEW, generation=2))
    assert (back.action, back.apply) == (Action.ROLLBACK, OLD)


# ---- somebody else's, and people
def test_a_restart_that_nobody_asked_us_for_is_waited_for_between_tests() -> None:
    held = at(0, state(), rebuilding())
    assert held.action is Action.HOLD
    assert "by itself (seqs 4→8" in held.reason
    assert held.state.restart is None


def test_a_pause_in_a_restart_ends_the_test_when_it_is_over() -> None:
    known = sent(mode=Mode.PAUSED)
    assert at(30, known, rebuilding()).concluded is None
    over = at(60, known, replace(LIVE, settings=NEW, generation=2))
    assert (over.action, over.apply) == (Action.ROLLBACK, OLD)
    assert "paused by a person" in over.reason
    assert over.concluded is not None


def test_an_incumbent_that_comes_back_late_is_not_adopted_as_a_person_s() -> None:
    live = replace(LIVE, settings=NEW, generation=2)
    known = state(unsettled=True, unconfirmed=NEW, intended=live)
    back = TUNER.decide(known, seen(live), NOW)
    known = TUNER.failed(known, back, UNANSWERED, live, NOW)
    held = at(30, known, replace(live, rebuilding=dict(OLD)))
    assert held.action is Action.HOLD
    came = at(60, held.state, replace(live, settings=OLD, generation=3))
    assert (came.action, came.apply, came.alert) == (Action.ROLLBACK, OLD, None)


# ---- two lanes
@pytest.mark.parametrize("lane", [0, 1])
def test_two_lanes_restart_one_after_the_other(lane: int) -> None:
    rules = replace(BUILT, replicas=2, plan=replace(RULES.plan, design=Design.SPLIT))
    tuner = Tuner(rules, Scripted())
    start = tuner.decide(state(), seen(), NOW)
    assert start.lanes is not None
    assert set(start.lanes) == {OLD, NEW}
    known = tuner.failed(state(), start, UNANSWERED, LIVE, NOW)
    assert known.restart is not None
    held = tuner.decide(known, seen(rebuilding()), NOW + 30)
    assert held.action is Action.HOLD
    first = start.lanes[0] if lane == 0 else OLD
    partly = replace(LIVE, settings=first, generation=2)
    again = tuner.decide(held.state, seen(partly), NOW + 60)
    assert again.action is Action.CONTINUE
    assert again.lanes == start.lanes
    second = tuner.failed(again.state, again, UNANSWERED, partly, NOW + 60)
    assert second.restart is not None
    assert second.experiment is not None
