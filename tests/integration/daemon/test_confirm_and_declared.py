"""The whole daemon with confirm runs and declared tests: what is live after each, and a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autotuner.domain.experiment import Verdict
from autotuner.history.records import Ask
from tests.integration.daemon.loop import POLICY, POOR, Crash, Loop, make_loop

TWICE = POLICY.model_copy(
    update={"experiment": POLICY.experiment.model_copy(update={"confirm": True})}
)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """The other crash tests' policy, with confirm runs."""
    return Loop(tmp_path, make_loop(tmp_path).target, TWICE)


def run_until(loop: Loop, there: Callable[[], bool], cycles: int = 1500) -> None:
    for _ in range(cycles):
        loop.cycle()
        if there():
            return
    raise AssertionError("it never came about")


def verdicts(loop: Loop) -> list[Verdict | None]:
    return [found.verdict for found in reversed(loop.history.experiments(target="t"))]


def test_a_candidate_wins_twice_before_it_stays(loop: Loop) -> None:
    run_until(loop, lambda: verdicts(loop) == [Verdict.ACCEPTED])
    assert loop.live == POOR
    run_until(loop, lambda: len(verdicts(loop)) == 2 and verdicts(loop)[1] is not None)
    second, first = loop.history.experiments(target="t")
    assert [first.verdict, second.verdict] == [Verdict.ACCEPTED, Verdict.ACCEPTED]
    whole = loop.history.experiment(second.id)
    assert whole is not None
    assert whole.plan.confirms == first.id
    assert loop.live == second.treatment == first.treatment != POOR
    assert loop.history.count_tests("t") == (1, 1)


def test_a_crash_after_the_first_verdict_goes_on_with_the_second_test(loop: Loop) -> None:
    loop.history.armed = "record_decision"  # of the first ROLLBACK, which ends the first test
    with pytest.raises(Crash):
        run_until(loop, lambda: False)
    loop.restart()
    run_until(loop, lambda: Verdict.ACCEPTED in verdicts(loop))
    loop.restart()
    run_until(loop, lambda: bool(loop.history.open_experiments("t")), cycles=60)
    [running] = loop.history.open_experiments("t")
    assert running.plan.confirms
    assert running.control == POOR


@pytest.mark.parametrize("applies", [1, 2, 5])
def test_a_crash_within_the_second_test_leaves_the_incumbent_live(loop: Loop, applies: int) -> None:
    run_until(loop, lambda: verdicts(loop) == [Verdict.ACCEPTED])
    loop.target.crash_at, loop.target.after_effect = loop.target.applies + applies, True
    with pytest.raises(Crash):
        run_until(loop, lambda: False)
    loop.restart()
    loop.cycle()
    assert loop.live == POOR
    assert verdicts(loop) == [Verdict.ACCEPTED, Verdict.ABORTED]


def test_a_declared_a_a_is_run_answered_and_claims_nothing(loop: Loop) -> None:
    number = loop.history.ask(
        "t", Ask.EXPERIMENT, "alice", loop.now, payload={"changes": {}, "plan": {"max_pairs": 7}}
    )
    run_until(loop, lambda: bool(verdicts(loop)) and verdicts(loop)[0] is not None)
    control = loop.history.control(number)
    assert control is not None
    [found] = loop.history.experiments(target="t")
    assert control.experiment_id == found.id
    assert found.control == found.treatment == POOR
    assert found.verdict in (Verdict.INCONCLUSIVE, Verdict.REJECTED)
    assert found.pairs > 0
    assert loop.live == POOR
    assert loop.history.count_tests("t") == (0, 0)


def test_a_declared_test_that_cannot_be_is_answered_and_the_daemon_goes_on(
    loop: Loop,
) -> None:
    number = loop.history.ask(
        "t", Ask.EXPERIMENT, "alice", loop.now, payload={"changes": {"max_num_seqs": 7}, "plan": {}}
    )
    run_until(loop, lambda: bool(loop.history.open_experiments("t")))
    control = loop.history.control(number)
    assert control is not None
    assert control.experiment_id is None
    assert "max_num_seqs" in (control.result or "")
    reasons = [decision.reason for decision in loop.history.decisions("t", limit=200)]
    assert control.result in reasons
