"""`autotuner experiment run | aa` as a person meets it, on a history in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from autotuner.commands import experiment_follow
from autotuner.history.store import History
from tests.integration.commands.support import (
    LIVE,
    Command,
    daemon_lives,
    mistake,
)


def test_a_request_is_kept_for_the_daemon_to_come(
    command: Command,
    history: History,
    plan_file: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = command("run", plan_file())
    assert done.exit_code == 0, done.output
    assert "request 1: larger on chat" in done.output
    assert "no daemon has run on chat yet: start one with `autotuner run -c" in done.output
    waiting = history.next_declared("chat")
    assert waiting is not None
    assert waiting.note == "larger: the queue is long"
    assert waiting.payload == {
        "changes": {"max_num_seqs": 32},
        "plan": {"max_pairs": 12, "guardrails": []},
    }
    monkeypatch.setattr(experiment_follow, "START_S", 1.0)
    waited = command("run", plan_file(), "--wait")
    assert waited.exit_code == 3
    assert "waiting up to 1 s for one" in waited.output
    assert [control.id for control in history.declared("chat")] == [2, 1]


def test_with_a_daemon_nothing_is_warned_of(
    command: Command, history: History, plan_file: Callable[..., str]
) -> None:
    daemon_lives(history)
    done = command("run", plan_file(), "--json")
    told = json.loads(done.stdout)
    assert told == {"request": 1, "target": "chat", "daemon": True}
    daemon_lives(history, mode="paused")
    assert "`autotuner resume`" in command("run", plan_file()).output


def test_an_aa_changes_nothing(command: Command, history: History) -> None:
    done = command("aa", "--target", "chat", "--pairs", "40")
    assert done.exit_code == 0, done.output
    waiting = history.next_declared("chat")
    assert waiting is not None
    assert waiting.payload == {"changes": {}, "plan": {"futility": None, "max_pairs": 40}}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"changes": {"num_seqs": 2}}, "changes.num_seqs=2: policy default does not tune this"),
        ({"changes": {"max_num_seqs": 3}}, "changes.max_num_seqs=3: give one of [1, 2, 4"),
        ({"changes": {"schedule_policy": "lifo"}}, "changes.schedule_policy='lifo': give one of"),
        ({"experiment": {"max_pairs": 3}}, "experiment.max_pairs=3"),
        ({"experiment": {"pairs": 9}}, "experiment.pairs: unknown key"),
        ({"experiment": {"slot_s": 4}}, "leaves nothing of slot_s=4"),
        ({"experiment": {"outcome": "speed"}}, "'speed' is no measure: give one of attainment"),
        ({"experiment": {"outcome": "cost"}}, "needs price_per_hour"),
        ({"experiment": {"design": "split"}}, "needs two replicas or more"),
        ({"target": "other"}, "target='other': unknown; give one of chat, pair"),
        ({"name": ""}, "name=''"),
    ],
)
def test_a_mistake_in_a_plan_is_told_and_nothing_is_asked(
    changed: dict[str, Any],
    told: str,
    command: Command,
    history: History,
    plan_file: Callable[..., str],
) -> None:
    for verb in ("run", "plan"):
        assert told in mistake(command(verb, plan_file(**changed)))
    assert history.declared() == []


def test_what_is_live_already_is_no_candidate(
    command: Command, history: History, plan_file: Callable[..., str]
) -> None:
    daemon_lives(history)
    history.set_incumbent("chat", LIVE, at=1.0, why="found")
    assert command("run", plan_file()).exit_code == 0
    assert "max_num_seqs=16 is live already" in mistake(
        command("run", plan_file(changes={"max_num_seqs": 16}))
    )
    history.quarantine("chat", LIVE.with_values(max_num_seqs=32), reason="harmful", at=1.0)
    assert "are in quarantine" in mistake(command("run", plan_file()))
    assert command("aa", "-t", "chat").exit_code == 0


def test_the_target_can_be_chosen_anew(
    command: Command, history: History, plan_file: Callable[..., str]
) -> None:
    split = plan_file(experiment={"design": "split"})
    assert command("run", split, "--target", "pair").exit_code == 0
    assert [control.target for control in history.declared()] == ["pair"]
    assert "--target: needed" in mistake(command("aa"))
    assert "--target='x': unknown" in mistake(command("aa", "-t", "x"))
