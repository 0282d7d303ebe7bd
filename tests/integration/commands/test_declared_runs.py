"""A declared test from the wish to the verdict: the real daemon on a simulated target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotuner.commands.experiment_follow import Daemon, Seen, Waiter, follow, succeeded
from autotuner.commands.experiment_stop import running_on, stop_named
from autotuner.domain.experiment import Verdict
from autotuner.history.records import Ask
from tests.integration.daemon.loop import POOR, Loop, make_loop

CYCLES = 900
SHORT: dict[str, Any] = {"slot_s": 40, "max_pairs": 14}


def declare(
    loop: Loop, changes: Mapping[str, Any], plan: Mapping[str, Any] = SHORT, note: str = "why not"
) -> int:
    payload = {"changes": dict(changes), "plan": dict(plan)}
    return loop.history.ask("t", Ask.EXPERIMENT, "ana", loop.now, note, payload)


def until_the_end(loop: Loop, number: int) -> tuple[Seen, list[str]]:
    """Follows a request; each look at the history is one cycle of the daemon later."""
    told: list[str] = []
    left = iter(range(CYCLES))

    def cycle(_s: float) -> None:
        next(left)
        loop.cycle()

    cycle(0)
    waiter = Waiter(now=lambda: loop.now, sleep=cycle)
    seen, absent = follow(loop.history, number, Daemon(2.0, "autotuner run"), told.append, waiter)
    assert absent is None
    return seen, told


def test_a_wish_becomes_a_test_with_a_verdict(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    number = declare(loop, {"max_num_batched_tokens": 128}, note="shorter steps")
    seen, told = until_the_end(loop, number)

    assert seen.experiment is not None
    assert seen.experiment.plan.max_pairs == 14
    assert seen.experiment.treatment == POOR.with_values(max_num_batched_tokens=128)
    assert (seen.experiment.proposer, seen.experiment.rationale) == (
        "declared by ana",
        "shorter steps",
    )
    assert seen.experiment.conclusion is not None
    assert seen.experiment.conclusion.verdict is Verdict.ACCEPTED
    assert succeeded(seen)
    assert told[0] == f"request {number} waits for the daemon"
    assert told[-1].startswith("ACCEPTED: ")
    assert sum(line.startswith("pair ") for line in told) == len(seen.experiment.looks)
    loop.cycle()
    assert loop.live == seen.experiment.treatment
    assert loop.history.count_tests("t") == (1, 1)
    assert loop.history.next_declared("t") is None


def test_an_aa_claims_nothing_and_counts_for_nothing(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    seen, _ = until_the_end(loop, declare(loop, {}, {**SHORT, "max_pairs": 8}))
    assert succeeded(seen)
    assert seen.experiment is not None
    assert seen.experiment.control == seen.experiment.treatment == POOR
    assert loop.history.count_tests("t") == (0, 0)
    assert loop.history.trials("t") == []


def test_a_wish_that_can_not_be_run_is_answered_with_its_reason(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    unknown = declare(loop, {"num_seqs": 8})
    garbled = declare(loop, {}, {"max_pairs": "many"})
    for number, why in ((unknown, "num_seqs"), (garbled, "max_pairs='many'")):
        seen, told = until_the_end(loop, number)
        assert seen.experiment is None
        assert not succeeded(seen)
        assert why in (seen.request.result or "")
        assert told[-1].startswith(f"request {number} was not run: ")
    assert all(
        not tested.proposer.startswith("declared")
        for tested in loop.history.experiments(target="t")
    )


def test_a_running_test_is_stopped_and_the_next_one_takes_its_turn(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    first, second = declare(loop, {}), declare(loop, {"max_num_seqs": 16})
    while (running := loop.history.control(first)) is not None and running.waits:
        loop.cycle()
    name = running_on(loop.history, "t")
    stop_named(loop.history, name, "ana", loop.now)
    seen, _ = until_the_end(loop, first)
    assert seen.experiment is not None
    assert seen.experiment.conclusion is not None
    assert seen.experiment.conclusion.verdict is Verdict.ABORTED
    assert not succeeded(seen)
    assert loop.live == POOR
    later, _ = until_the_end(loop, second)
    assert later.experiment is not None
    assert later.experiment.treatment == POOR.with_values(max_num_seqs=16)


def test_a_wish_outlives_the_daemon(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    number = declare(loop, {}, {**SHORT, "max_pairs": 8})
    loop.restart()
    seen, _ = until_the_end(loop, number)
    assert seen.experiment is not None
