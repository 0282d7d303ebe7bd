"""A daemon that ends at any line finds itself again: incumbent live, test closed, no row lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.domain.experiment import Arm, Verdict
from autotuner.history.records import DecisionOutcome
from tests.integration.daemon.loop import POLICY, POOR, Crash, Loop, make_loop


def run_until_concluded(loop: Loop, cycles: int = 900) -> None:
    for _ in range(cycles):
        loop.cycle()
        if loop.history.trials("t"):
            return
    raise AssertionError("no experiment ended")


def test_the_loop_closes_and_every_step_is_in_the_history(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    run_until_concluded(loop)
    [found] = loop.history.experiments(target="t")
    assert found.verdict is Verdict.ACCEPTED
    assert found.confidence >= 0.95
    assert loop.live == found.treatment
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings == loop.live
    decisions = loop.history.decisions("t", limit=500)
    assert {d.action for d in decisions} >= {"HOLD", "START", "CONTINUE", "PROMOTE"}
    applied = [d for d in decisions if d.settings is not None]
    assert all(d.outcome is DecisionOutcome.APPLIED for d in applied)
    assert loop.history.unfinished_decisions("t") == []


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", [1, 2, 5])
def test_a_crash_around_an_apply_of_a_slot(
    tmp_path: Path, crash_at: int, after_effect: bool
) -> None:
    loop = make_loop(tmp_path)
    loop.target.crash_at, loop.target.after_effect = crash_at, after_effect
    with pytest.raises(Crash):
        run_until_concluded(loop)
    before = loop.history.decisions("t", limit=500)
    loop.restart()
    loop.cycle()
    assert loop.live == POOR
    [found] = loop.history.experiments(target="t")
    assert found.verdict is Verdict.ABORTED
    assert "daemon ended" in found.reason
    kept = loop.history.decisions("t", limit=500)
    assert {d.id for d in before} <= {d.id for d in kept}
    assert loop.history.unfinished_decisions("t") == []


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_a_crash_around_the_promotion_ends_with_the_winner_live(
    tmp_path: Path, after_effect: bool
) -> None:
    (tmp_path / "pilot").mkdir()
    pilot = make_loop(tmp_path / "pilot")
    run_until_concluded(pilot)
    loop = make_loop(tmp_path)
    loop.target.crash_at, loop.target.after_effect = pilot.target.applies, after_effect
    with pytest.raises(Crash):
        run_until_concluded(loop)
    loop.restart()
    loop.cycle()
    [found] = loop.history.experiments(target="t")
    assert found.verdict is Verdict.ACCEPTED
    assert loop.live == found.treatment


@pytest.mark.parametrize("write", ["record_experiment", "set_incumbent", "record_decision"])
def test_a_crash_while_a_verdict_is_written_keeps_all_of_it_or_nothing(
    tmp_path: Path, write: str
) -> None:
    loop = make_loop(tmp_path)
    while not loop.history.open_experiments("t"):
        loop.cycle()
    loop.history.armed = write
    with pytest.raises(Crash):
        run_until_concluded(loop)
    loop.restart()
    loop.cycle()
    [found] = loop.history.experiments(target="t")
    assert found.verdict is Verdict.ABORTED
    assert loop.live == POOR


def test_the_rest_after_a_test_outlives_a_restart(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    while not loop.history.open_experiments("t"):
        loop.cycle()
    loop.restart()
    loop.cycle()  # closes the test; puts the incumbent back
    loop.restart()
    said = [loop.cycle() for _ in range(12)]  # time enough for traffic that could be judged
    assert "resting" in said[-1]
    loop.now += POLICY.proposer.pause_s
    assert "resting" not in loop.cycle()


def run_until_the_treatment_is_live(loop: Loop) -> None:
    for _ in range(900):
        loop.cycle()
        tests = loop.history.open_experiments("t")
        slot = tests[-1].current_slot if tests else None
        if slot is not None and slot.arm is Arm.TREATMENT:
            assert loop.live != POOR
            return
    raise AssertionError("no slot under the treatment")


@pytest.mark.parametrize("write", ["close_orphans", "set_incumbent", "record_decision"])
def test_a_second_crash_before_the_incumbent_is_back(tmp_path: Path, write: str) -> None:
    """The first start closes the test; the next must still know that nobody chose what runs."""
    loop = make_loop(tmp_path)
    run_until_the_treatment_is_live(loop)
    loop.restart()
    loop.history.armed = write
    with pytest.raises(Crash):
        loop.cycle()
    assert loop.live != POOR
    loop.restart()
    loop.cycle()
    assert loop.live == POOR
    [found] = loop.history.experiments(target="t")
    assert found.verdict is Verdict.ABORTED
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings == POOR


def test_what_a_person_changed_while_no_daemon_ran_is_adopted(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.cycle()
    chosen = POOR.with_values(max_num_batched_tokens=128)
    loop.target.apply(chosen, loop.target.read_settings(), "a person")
    loop.restart()
    loop.cycle()
    loop.cycle()
    assert loop.live == chosen
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings == chosen


def test_a_stop_in_the_middle_leaves_the_incumbent_and_says_why(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    while not loop.history.open_experiments("t"):
        loop.cycle()
    for _ in range(10):
        loop.cycle()
    loop.daemon.stop(loop.now)
    assert loop.live == POOR
    [found] = loop.history.experiments(target="t")
    assert found.verdict is Verdict.ABORTED
    assert "stopped" in found.reason


def test_a_pause_outlives_a_restart(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.cycle()
    loop.history.ask("t", "pause", "ada", loop.now)
    assert "paused" in loop.cycle()
    loop.restart()
    assert "paused" in loop.cycle()
    loop.history.ask("t", "resume", "ada", loop.now)
    assert "paused" not in loop.cycle()
