"""Tests that people declare: from the wish to what became of it; and how many tests there were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import Experiment, Plan, Verdict
from autotuner.history.records import Ask
from autotuner.history.store import History

Build = Callable[..., Experiment]
WISH = {"changes": {"max_num_seqs": 64}, "plan": {"max_pairs": 20, "guardrails": []}}


def declare(history: History, at: float, target: str = "chat") -> int:
    return history.ask(target, Ask.EXPERIMENT, "ana", at, note="larger", payload=WISH)


def test_a_declared_test_waits_for_its_turn(history: History) -> None:
    assert history.next_declared("chat") is None
    first, second = declare(history, 10.0), declare(history, 11.0)
    history.ask("chat", "pause", "ben", 12.0)

    assert [control.what for control in history.take_controls("chat", 13.0)] == [Ask.PAUSE]

    waiting = history.next_declared("chat")
    assert waiting is not None
    assert (waiting.id, waiting.who, waiting.note, waiting.waits) == (first, "ana", "larger", True)
    assert waiting.payload == WISH
    history.take_control(first, 14.0, result="a guardrail can't be measured here")
    refused = history.control(first)
    assert refused is not None
    assert (refused.taken_at, refused.result) == (14.0, "a guardrail can't be measured here")
    following = history.next_declared("chat")
    assert following is not None
    assert following.id == second


def test_it_becomes_an_experiment_in_one_transaction(history: History, build: Build) -> None:
    number = declare(history, 10.0)
    with pytest.raises(HistoryError, match="must be recorded before"):
        history.take_control(number, 11.0, experiment_id="e1")
    with history.together():
        history.record_experiment(build("e1", pairs=0))
        history.take_control(number, 11.0, experiment_id="e1")
    taken = history.control(number)
    assert taken is not None
    assert (taken.experiment_id, taken.waits) == ("e1", False)
    assert history.next_declared("chat") is None


def test_a_wish_that_was_withdrawn_starts_nothing(history: History, build: Build) -> None:
    number = declare(history, 10.0)
    history.take_control(number, 11.0, result="withdrawn by ana")

    def start() -> None:
        with history.together():
            history.record_experiment(build("e1", pairs=0))
            history.take_control(number, 12.0, experiment_id="e1")

    with pytest.raises(HistoryError, match="taken already: withdrawn by ana"):
        start()
    assert history.experiment("e1") is None
    with pytest.raises(HistoryError, match="request 99: there is no such request"):
        history.take_control(99, 12.0)
    assert history.control(99) is None


def test_the_declared_ones_newest_first(history: History) -> None:
    history.record_target("other", kind="worker", url="http://127.0.0.1:1", at=1.0)
    numbers = [declare(history, float(at)) for at in range(3)]
    elsewhere = declare(history, 9.0, target="other")
    history.ask("chat", "resume", "ana", 10.0)
    assert [control.id for control in history.declared("chat")] == numbers[::-1]
    assert [control.id for control in history.declared(limit=2)] == [elsewhere, numbers[-1]]
    assert [c.id for c in history.declared(before=numbers[-1])] == [numbers[1], numbers[0]]
    assert history.next_declared("nobody") is None


def test_tests_are_counted_for_the_level_of_the_next(history: History, build: Build) -> None:
    assert history.count_tests("chat") == (0, 0)
    kinds = [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REJECTED, Verdict.HARMFUL]
    for number, verdict in enumerate([*kinds, Verdict.INCONCLUSIVE, Verdict.ABORTED]):
        history.record_experiment(build(f"e{number}", verdict=verdict))
    assert history.count_tests("chat") == (6, 2)

    history.record_experiment(build("no look", pairs=0, verdict=Verdict.ABORTED))
    history.record_experiment(build("hard limit", pairs=0, verdict=Verdict.HARMFUL))
    history.record_experiment(build("running"))
    same = build("a/a", verdict=Verdict.ACCEPTED)
    history.record_experiment(replace(same, treatment=same.control))
    again = build("again", verdict=Verdict.ACCEPTED)
    history.record_experiment(replace(again, plan=Plan(confirms="e0")))

    assert history.count_tests("chat") == (7, 2)
    assert history.count_tests("nobody") == (0, 0)


def test_an_a_a_test_teaches_nothing_about_candidates(history: History, build: Build) -> None:
    same = build("a/a", verdict=Verdict.INCONCLUSIVE)
    history.record_experiment(replace(same, treatment=same.control))
    history.record_experiment(build("a/b", verdict=Verdict.REJECTED))
    assert [trial.verdict for trial in history.trials("chat")] == ["REJECTED"]
