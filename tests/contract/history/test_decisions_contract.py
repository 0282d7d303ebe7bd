from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.knobs import Settings
from autotuner.history.records import DecisionOutcome
from autotuner.history.store import History

OLD, NEW = Settings({"max_num_seqs": 32}), Settings({"max_num_seqs": 64})


def test_a_decision_with_settings_is_unfinished_until_it_is_done(history: History) -> None:
    number = history.record_decision(
        "chat", "START", "worth a test", at=10.0, generation=3, settings=NEW
    )
    (waiting,) = history.unfinished_decisions("chat")
    assert (waiting.id, waiting.settings, waiting.generation) == (number, NEW, 3)
    assert waiting.outcome is DecisionOutcome.PENDING

    history.decision_done(number, "applied", 11.0, generation=4)
    assert history.unfinished_decisions("chat") == []
    (done,) = history.decisions("chat")
    assert (done.outcome, done.outcome_at, done.applied_generation) == ("applied", 11.0, 4)


def test_an_unknown_outcome_waits_to_be_settled(history: History) -> None:
    number = history.record_decision("chat", "ROLLBACK", "harm", at=10.0, settings=OLD)
    history.decision_done(number, DecisionOutcome.UNKNOWN, 11.0, note="no answer in 5 s")
    (waiting,) = history.unfinished_decisions("chat")
    assert waiting.outcome_note == "no answer in 5 s"
    history.decision_done(number, DecisionOutcome.APPLIED, 15.0)
    history.decision_done(number, DecisionOutcome.APPLIED, 99.0)
    assert history.decisions("chat")[0].outcome_at == 15.0
    with pytest.raises(HistoryError, match=r"is finished \(applied\)"):
        history.decision_done(number, DecisionOutcome.FAILED, 16.0)


def test_nothing_to_apply_is_finished_at_once(history: History) -> None:
    hold = history.record_decision("chat", "HOLD", "no traffic", at=10.0)
    history.record_decision("chat", "START", "would test", at=11.0, settings=NEW, advisory=True)
    assert history.unfinished_decisions("chat") == []
    assert [d.outcome for d in history.decisions("chat")] == [DecisionOutcome.ADVISED, None]
    with pytest.raises(HistoryError, match="nothing to apply"):
        history.decision_done(hold, "applied", 12.0)


def test_an_unknown_decision_is_refused(history: History) -> None:
    with pytest.raises(HistoryError, match="decision 77: there is no such decision"):
        history.decision_done(77, "applied", 12.0)


def test_an_unknown_action_is_refused(history: History) -> None:
    with pytest.raises(HistoryError, match="refuses this"):
        history.record_decision("chat", "JUMP", "why not", at=10.0)
    assert history.decisions("chat") == []


def test_decisions_go_on_from_an_id(history: History) -> None:
    for number in range(5):
        history.record_decision("chat", "HOLD", f"reason {number}", at=float(number))
    first = history.decisions("chat", limit=3)
    rest = history.decisions("chat", before=first[-1].id)
    assert [d.reason[-1] for d in first + rest] == ["4", "3", "2", "1", "0"]


def test_the_incumbent_and_its_past(history: History, build: Callable[..., Experiment]) -> None:
    assert history.incumbent("chat") is None
    history.record_experiment(build("e1", verdict=Verdict.ACCEPTED))
    history.set_incumbent("chat", OLD, at=1.0, why="found on the target")
    history.set_incumbent("chat", OLD, at=2.0, why="found again")
    assert history.incumbent("chat") == (OLD, 1.0, "found on the target")
    history.set_incumbent("chat", NEW, at=5.0, why="accepted", experiment_id="e1")
    now, before = history.incumbents("chat")
    assert (now.settings, now.since_at, now.until_at, now.experiment_id) == (NEW, 5.0, None, "e1")
    assert (before.settings, before.until_at) == (OLD, 5.0)
    assert history.incumbents("chat", before=now.id) == [before]


def test_settings_come_back_with_their_types(history: History) -> None:
    values = Settings({"a": 1, "b": 1.0, "c": "1", "d": True, "e": "größer", "f": 0.1})
    digest = history.record_settings(values, 1.0)
    assert history.record_settings(values, 2.0) == digest
    stored = history.settings(digest)
    assert stored is not None
    assert stored.digest == digest
    assert [type(v) for v in stored.values()] == [type(v) for v in values.values()]
    assert history.settings("0" * 16) is None


def test_quarantine_ends(history: History) -> None:
    history.quarantine("chat", OLD, reason="harmful", at=1.0, until=100.0)
    history.quarantine("chat", NEW, reason="out of memory", at=1.0)
    assert history.quarantined("chat", 50.0) == {OLD.digest, NEW.digest}
    assert history.quarantines("chat", 50.0) == {OLD.digest: 100.0, NEW.digest: math.inf}
    assert history.quarantined("chat", 100.0) == {NEW.digest}
    assert history.quarantined("other", 50.0) == frozenset()
    history.quarantine("chat", NEW, reason="shorter", at=2.0, until=60.0)
    assert history.quarantined("chat", 70.0) == {OLD.digest}


def test_targets_keep_when_they_were_first_seen(history: History) -> None:
    history.record_target("chat", kind="vllm", url="http://127.0.0.1:1", at=9.0, info={"x": [1]})
    history.record_target("batch", kind="worker", url="http://127.0.0.1:2", at=9.0)
    history.record_agent("ppo", "1", digest="d", info={"features": ["a"]}, at=1.0)
    history.record_agent("ppo", "1", digest="e", info={"gamma": float("nan")}, at=2.0)
    assert history.targets() == ["batch", "chat"]
