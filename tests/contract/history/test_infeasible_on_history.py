"""Settings whose engine failed: kept for good, with the fault, and known to the next daemon."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.domain.errors import SettingsRefusedError
from autotuner.domain.feasibility import EngineFault, Fault, Infeasible
from autotuner.history.store import History
from autotuner.journal.infeasible import infeasible_of, reason_of
from autotuner.tuner import Restart, Tuner
from tests.contract.history.test_journal_on_history import RULES, journal_of, step, woken
from tests.unit.tuner.world import FAR, LIVE, NEW, NOW, OLD, Scripted, decide, seen

DEATH = EngineFault(100.0, Fault.RUN_MEMORY, "out of memory: 2 GiB", dict(NEW), "1@100.0")


@pytest.mark.parametrize("fault", list(Fault))
def test_a_reason_tells_the_fault_and_what_was_said(fault: Fault) -> None:
    bad = Infeasible(NEW, fault, "torch: out of memory: 2 GiB")
    assert infeasible_of(NEW, reason_of(bad)) == bad
    assert infeasible_of(NEW, "HARMFUL: hard limit") is None
    assert infeasible_of(NEW, "") is None


def test_a_candidate_that_died_is_known_to_the_next_daemon(history: History) -> None:
    state = step(history, woken(history)).state
    live = replace(LIVE, boot_id="other", faults=(DEATH,))
    decision = decide(state, seen(live), policy=RULES)
    assert decision.concluded is not None
    journal_of(history).record(state, decision, seen(live), NOW)
    assert history.barred("chat") == [(NEW, "run-memory: out of memory: 2 GiB")]
    state = woken(history, live, now=NOW + 1e9)
    assert state.infeasible == (Infeasible(NEW, Fault.RUN_MEMORY, DEATH.message),)
    assert state.quarantined == {NEW.digest: math.inf}
    assert state.faults == {DEATH.id}


def test_one_that_was_refused_as_it_was_applied_is_kept_as_well(history: History) -> None:
    decision = step(history, woken(history))
    problem = SettingsRefusedError("422: no room", "start-kv", NEW)
    after = Tuner(RULES, Scripted()).failed(decision.state, decision, problem, LIVE, NOW)
    journal_of(history).barred(decision.state, after, NOW)
    assert woken(history, now=NOW + 60).infeasible == (
        Infeasible(NEW, Fault.START_KV, "422: no room"),
    )


def test_what_is_held_for_a_while_is_not_infeasible(history: History) -> None:
    woken(history)
    history.quarantine("chat", FAR, reason="start-kv: as it were", at=NOW, until=NOW + 60)
    history.quarantine("chat", NEW, reason="a person's word", at=NOW)
    state = woken(history, now=NOW + 1)
    assert state.infeasible == ()
    assert state.banned(NOW + 1) == {FAR.digest, NEW.digest}


def test_a_death_while_no_daemon_looked_bars_the_candidate(history: History) -> None:
    step(history, woken(history))
    live = replace(LIVE, boot_id="other", now=LIVE.now + 30, faults=(replace(DEATH, at=LIVE.now),))
    assert woken(history, live, now=NOW + 30).quarantined == {NEW.digest: math.inf}
    assert history.barred("chat") != []


def test_one_from_before_the_test_says_nothing_of_it(history: History) -> None:
    step(history, woken(history))
    live = replace(LIVE, now=LIVE.now + 30, faults=(replace(DEATH, at=LIVE.now - 1),))
    assert woken(history, live, now=NOW + 30).infeasible == ()


def test_a_start_in_the_middle_of_our_restart_waits_for_its_end(history: History) -> None:
    step(history, woken(history))
    live = replace(LIVE, rebuilding=dict(NEW))
    state = woken(history, live, now=NOW + 30)
    assert (state.incumbent, state.unconfirmed, state.unsettled) == (OLD, NEW, True)
    assert state.restart == Restart(NEW, NOW + 30, "boot", 1, seen=True)


def test_a_restart_that_nobody_of_us_asked_for_is_not_undone(history: History) -> None:
    woken(history)
    state = woken(history, replace(LIVE, rebuilding=dict(FAR)), now=NOW + 30)
    assert (state.restart, state.unsettled) == (None, False)


@pytest.mark.parametrize("answered", [True, False])
def test_what_came_after_a_daemon_had_gone_is_not_adopted(history: History, answered: bool) -> None:
    """Unless the last apply was answered: then a person did it."""
    woken(history)
    journal = journal_of(history)
    for settings in (NEW, OLD):
        number = history.record_decision("chat", "ROLLBACK", "so", at=NOW, settings=settings)
        if answered:
            journal.applied(number, NOW, 1)
        else:
            journal.not_applied(number, "no answer", known=False, now=NOW)
    late = replace(LIVE, settings=NEW, generation=LIVE.generation + 5)
    state = woken(history, late, now=NOW + 60)
    assert state.incumbent == (NEW if answered else OLD)
    assert state.unsettled is not answered


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_candidate_whose_removal_was_not_answered_is_not_adopted(
    history: History, by_hand: bool
) -> None:
    """The target hung as the daemon ended; it is still what the daemon had applied, or later."""
    woken(history)
    journal, begun = journal_of(history), LIVE.generation + 1
    number = history.record_decision("chat", "START", "try", at=NOW, settings=NEW)
    journal.applied(number, NOW, begun)
    number = history.record_decision("chat", "ROLLBACK", "stopped", at=NOW, settings=OLD)
    journal.not_applied(number, "no answer", known=False, now=NOW)
    state = woken(history, replace(LIVE, settings=NEW, generation=begun + by_hand), now=NOW + 60)
    assert state.incumbent == (NEW if by_hand else OLD)
    assert state.unsettled is not by_hand


def test_the_history_says_what_serves(history: History) -> None:
    woken(history)
    woken(history, replace(LIVE, server="vllm"))
    assert history.target_info("chat")["server"] == "vllm"
