"""A budget that is nearly spent, or can't spare a test's restarts, and what it never touches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.domain.availability import Tally
from autotuner.domain.error_budget import AvailabilityGoal, ErrorBudget
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Knob, KnobSpace
from autotuner.domain.mode import Mode
from autotuner.tuner import Action
from tests.unit.tuner.world import (
    LIVE,
    NEW,
    NOW,
    PLAN,
    Scripted,
    asked,
    decide,
    ended,
    rules,
    seen,
    started,
    state,
)

REFUSED = "no test starts while less than 10% of the error budget is left: 5.0% is left"
SLOW = rules(
    space=KnobSpace((Knob("seqs", (4, 8, 16, 32), live=False), Knob("tokens", (64, 128, 256)))),
    plan=replace(PLAN, slot_s=100, max_pairs=60),
)


def budget(failed: float, restart_s: float = 0.0, restart_failed: float = 0.0) -> ErrorBudget:
    """Of a million requests, of which 500 may fail."""
    whole = Tally(1e6, failed, 0.0, restart_s, restart_failed)
    return ErrorBudget(AvailabilityGoal(), whole, {})


@pytest.mark.parametrize("mode", [Mode.ACTIVE, Mode.ADVISORY])
def test_nothing_starts_below_the_reserve_and_nobody_is_asked_for_a_candidate(mode: Mode) -> None:
    proposer = Scripted()
    decision = decide(state(mode=mode), seen(budget=budget(475)), proposer)
    assert decision.action is Action.HOLD
    assert decision.reason.startswith(REFUSED)
    assert proposer.shown == []
    assert decide(state(), seen(budget=budget(440))).action is Action.START


def test_a_declared_test_is_refused_with_the_reason() -> None:
    decision = decide(state(), seen(declared=asked(seqs=16), budget=budget(475)))
    assert (decision.action, decision.declared) == (Action.HOLD, 7)
    assert decision.reason.startswith("the test that alice asked for (request 7) is refused: no ")
    assert REFUSED in decision.reason


def test_a_test_that_should_confirm_waits_and_is_not_forgotten() -> None:
    known = state(to_confirm=ended(Verdict.ACCEPTED, NEW))
    held = decide(known, seen(budget=budget(475)), policy=rules(confirm=True))
    assert held.action is Action.HOLD
    assert held.state.to_confirm is not None
    again = decide(held.state, seen(budget=budget(100)), policy=rules(confirm=True))
    assert again.action is Action.START


def test_a_running_test_does_not_hear_of_it() -> None:
    running = started()
    live = replace(LIVE, now=LIVE.now + 1)
    with_it = decide(running, seen(live, budget=budget(900)), now=NOW + 1)
    without = decide(running, seen(live), now=NOW + 1)
    assert with_it == without


@pytest.mark.parametrize(("failed_before", "starts"), [(0.0, True), (2.0, True), (80.0, False)])
def test_restarts_are_reckoned_with_by_what_earlier_ones_cost(
    failed_before: float, starts: bool
) -> None:
    """Seven pairs or so are a dozen restarts of 10 s; of 450 requests that may fail still."""
    world = seen(replace(LIVE, restart_s=10.0), budget=budget(0, 20.0, failed_before))
    decision = decide(state(), world, Scripted(effect=0.3), SLOW)
    assert (decision.action is Action.START) is starts, decision.reason
    wanted = replace(world, declared=asked(replace(PLAN, slot_s=100, max_pairs=60), seqs=16))
    answer = decide(state(), wanted, policy=SLOW)
    assert (answer.action is Action.START) is starts
    if not starts:
        assert "restarts of 10 s would cost about" in decision.reason
        assert "and the error budget spares 450: 100.0% is left" in answer.reason


def test_live_knobs_cost_no_restart() -> None:
    world = seen(replace(LIVE, restart_s=10.0), budget=budget(0, 20.0, 4000.0))
    assert decide(state(), world, Scripted(effect=0.3)).action is Action.START
