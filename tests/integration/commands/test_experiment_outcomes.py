"""`autotuner experiment list | show | report | stop`, and waiting for a verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from autotuner.commands.experiment_follow import START_S, Daemon, Seen, Waiter, follow
from autotuner.domain.experiment import (
    Guardrail,
    Plan,
    Verdict,
)
from autotuner.domain.explanation import Explanation
from autotuner.history.records import Ask
from autotuner.history.store import History
from tests.integration.commands.support import (
    Command,
    closed,
    daemon_lives,
    experiment,
    mistake,
)


def test_what_became_of_each_request(command: Command, history: History) -> None:
    daemon_lives(history)
    numbers = [history.ask("chat", Ask.EXPERIMENT, "ana", 1.0 + k, f"n{k}") for k in range(3)]
    history.record_experiment(closed(experiment("e1", [0.1], Plan()), Verdict.ACCEPTED))
    history.take_control(numbers[0], 9.0, experiment_id="e1")
    history.take_control(numbers[1], 9.0, result="no such knob")
    found = json.loads(command("list", "--json").stdout)
    assert [(one["request"], one["verdict"], one["result"]) for one in found] == [
        (3, None, None),
        (2, None, "no such knob"),
        (1, "ACCEPTED", None),
    ]
    words = " ".join(command("list").output.split())
    assert "waits" in words
    assert "no such knob" in words


def test_an_experiment_is_shown_by_its_id_or_its_request(
    command: Command, history: History
) -> None:
    daemon_lives(history)
    number = history.ask("chat", Ask.EXPERIMENT, "ana", 1.0)
    assert "no experiment yet: waits" in mistake(command("show", str(number)))
    plan = Plan(guardrails=(Guardrail("e2el_p95", 0.25),))
    history.record_experiment(closed(experiment("e1", [0.1, 0.2], plan), Verdict.ACCEPTED), at=2000)
    history.take_control(number, 9.0, experiment_id="e1")
    for name in ("e1", str(number)):
        done = command("show", name)
        assert done.exit_code == 0, done.output
        assert "e1" in done.output
        assert "P95 of whole-request time" in done.output
    data = json.loads(command("show", "e1", "--json").stdout)
    assert data["verdict"]["verdict"] == "ACCEPTED"
    assert data["guardrails"][0]["measure"] == "e2el_p95"
    assert "'e9': unknown" in mistake(command("show", "e9"))
    assert "'77': unknown" in mistake(command("show", "77"))


def test_the_reason_of_a_proposal_is_shown_with_what_came(
    command: Command, history: History, tmp_path: Path
) -> None:
    """Of a confirm run too, which has the reason of the test that it repeats."""
    daemon_lives(history)
    why = Explanation(
        seen={"rate_rps": 4.0},
        effect=0.12,
        low=0.05,
        high=0.2,
        incumbent={"attainment": 0.7},
        candidate={"attainment": 0.82},
        method="the model",
    )
    first = closed(experiment("e1", [0.1, 0.1], Plan()), Verdict.ACCEPTED)
    history.record_experiment(first, at=2000, predicted_effect=0.12, explanation=why)
    history.record_experiment(experiment("e2", [0.1], Plan(confirms="e1")))
    for name in ("e1", "e2"):
        shown = " ".join(command("show", name).output.split())
        assert "What was seen: Requests a second 4." in shown
        assert "a gain of +12.0 points" in shown
        assert "measured +10.0 points, within what was expected" in shown
        assert "attainment 70.0% → 82.0%" in shown
    data = json.loads(command("show", "e1", "--json").stdout)
    assert data["explanation"]["effect"] == 0.12
    assert command("report", "e1", "--out", str(tmp_path / "r")).exit_code == 0
    assert "Why it was tried" in (tmp_path / "r" / "index.html").read_text()


def test_a_report_lies_where_it_was_asked(
    command: Command, history: History, tmp_path: Path
) -> None:
    daemon_lives(history)
    history.record_experiment(closed(experiment("e1", [0.1, 0.2], Plan()), Verdict.ACCEPTED))
    assert command("report", "e1", "--out", str(tmp_path / "r")).exit_code == 0
    assert {path.name for path in (tmp_path / "r").iterdir()} >= {"index.html", "report.json"}


def test_what_waits_is_withdrawn_and_what_runs_is_ended(command: Command, history: History) -> None:
    daemon_lives(history)
    assert "nothing to stop" in mistake(command("stop", "-t", "chat"))
    number = history.ask("chat", Ask.EXPERIMENT, "ana", 1.0)
    assert f"`autotuner experiment stop {number}` withdraws it" in mistake(
        command("stop", "-t", "chat")
    )
    assert "is withdrawn" in command("stop", str(number)).output
    assert history.next_declared("chat") is None
    assert "over already: withdrawn by" in mistake(command("stop", str(number)))

    history.record_experiment(experiment("e1", [0.1], Plan()))
    assert command("stop", "-t", "chat").exit_code == 0
    assert command("stop", "e1").exit_code == 0
    asked = history.take_controls("chat", 5.0)
    assert [(control.what, control.note) for control in asked] == [(Ask.STOP, "e1")] * 2
    history.record_experiment(closed(experiment("e1", [0.1], Plan()), Verdict.ABORTED))
    assert "has ended already" in mistake(command("stop", "e1"))
    assert "'e7': unknown" in mistake(command("stop", "e7"))


def test_a_wait_follows_the_daemon_to_the_verdict(history: History) -> None:
    daemon_lives(history)
    number = history.ask("chat", Ask.EXPERIMENT, "ana", 1.0)
    states = iter([[], [0.1, 0.2]])

    def step(_s: float) -> None:
        differences = next(states, None)
        if differences is None:
            ended = closed(experiment("e1", [0.1, 0.2], Plan()), Verdict.ACCEPTED)
            history.record_experiment(ended)
        else:
            with history.together():
                history.record_experiment(experiment("e1", differences, Plan()))
                if not differences:
                    history.take_control(number, 9.0, experiment_id="e1")

    told: list[str] = []
    waiter = Waiter(sleep=step)
    seen, absent = follow(history, number, Daemon(5.0, ""), told.append, waiter)
    assert absent is None
    assert told == [
        "request 1 waits for the daemon",
        "the daemon says: held: idle",
        "experiment e1 has started: 30 pairs at most",
        "pair 1: +10.0 points, 40.0% confidence",
        "pair 2: +20.0 points, 40.0% confidence",
        "ACCEPTED: so it is",
    ]
    assert seen.experiment is not None


def followed(
    history: History, number: int, then: Callable[[float], None]
) -> tuple[Seen, str | None, float]:
    """What a wait ended with, and after how long by its clock; `then` is called at each turn."""
    clock = [0.0]

    def step(s: float) -> None:
        clock[0] += s
        then(clock[0])

    waiter = Waiter(lambda: clock[0], step)
    seen, absent = follow(history, number, Daemon(5.0, ""), lambda _: None, waiter)
    return seen, absent, clock[0]


def asked_without_a_daemon(history: History) -> int:
    history.record_target("chat", kind="worker", url="http://127.0.0.1:9", at=1.0)
    return history.ask("chat", Ask.EXPERIMENT, "ana", 1.0)


def test_a_wait_is_patient_with_a_daemon_that_is_starting(history: History) -> None:
    number = asked_without_a_daemon(history)

    def starts(after_s: float) -> None:
        if after_s == START_S / 2:
            daemon_lives(history)
            history.take_control(number, 9.0, result="the target is busy")

    seen, absent, _ = followed(history, number, starts)
    assert absent is None
    assert seen.request.result == "the target is busy"


def test_a_wait_for_a_daemon_that_never_starts_ends(history: History) -> None:
    _, absent, after_s = followed(history, asked_without_a_daemon(history), lambda _: None)
    assert absent is not None
    assert after_s == START_S


def test_a_wait_ends_when_the_daemon_is_gone(history: History) -> None:
    daemon_lives(history)
    number = history.ask("chat", Ask.EXPERIMENT, "ana", 1.0)
    began = time.time()
    times = iter([began, began, began + 500])
    waiter = Waiter(now=lambda: next(times), sleep=lambda _s: None)
    seen, absent = follow(history, number, Daemon(5.0, "autotuner run"), lambda _: None, waiter)
    assert seen.request.waits
    assert absent is not None
    assert "start one with `autotuner run`" in absent
