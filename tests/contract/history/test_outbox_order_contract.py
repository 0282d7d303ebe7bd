"""The order in which a receiver gets its messages, and the words that were said about a mode."""

from __future__ import annotations

from dataclasses import replace

from autotuner.domain.forecasts import Alert
from autotuner.history.records import Ask, OutboxMessage
from autotuner.history.store import History

FIRING = OutboxMessage("hook", "x", "firing", {"n": 1}, 10.0)
RESOLVED = replace(FIRING, status="resolved", payload={"n": 2})
OTHER = replace(FIRING, fingerprint="y", payload={"n": 3})


def due(history: History, now: float, receiver: str = "hook") -> list[int]:
    return [message.payload["n"] for message in history.due(now, 50, receiver)]


def test_what_comes_later_about_an_alert_waits_for_what_came_earlier(history: History) -> None:
    for message in (FIRING, RESOLVED, OTHER):
        history.enqueue(message, 10.0)
    assert due(history, 10.0) == [1, 3]
    first = history.due(10.0, 50, "hook")[0]
    history.failed(first.id, "answered 400", 500.0)
    assert due(history, 20.0) == [3]
    assert due(history, 500.0) == [1, 3]
    history.delivered(first.id, 500.0)
    assert due(history, 500.0) == [2, 3]


def test_what_was_given_up_holds_up_nothing(history: History) -> None:
    for message in (FIRING, RESOLVED):
        history.enqueue(message, 10.0)
    history.failed(history.due(10.0, 50, "hook")[0].id, "given up", None)
    assert due(history, 10.0) == [2]


def test_receivers_do_not_wait_for_each_other(history: History) -> None:
    for n in range(60):
        history.enqueue(replace(FIRING, receiver="dead", fingerprint=f"{n}"), 10.0)
    history.enqueue(replace(RESOLVED, receiver="alive"), 11.0)
    assert due(history, 20.0, "alive") == [2]
    assert due(history, 20.0, "nobody") == []


def test_the_order_is_that_of_enqueuing_whatever_was_put_off(history: History) -> None:
    history.enqueue(FIRING, 10.0)
    history.enqueue(OTHER, 11.0)
    history.failed(history.due(10.0, 50, "hook")[0].id, "no answer", 40.0)
    assert due(history, 50.0) == [1, 3]


def test_words_about_a_mode_come_newest_first(history: History) -> None:
    assert history.asked_modes("chat") == []
    history.ask("chat", Ask.PAUSE, "ana", 1.0)
    history.ask("chat", Ask.ROLLBACK, "ana", 2.0)
    history.ask("chat", Ask.RESUME, "alertmanager", 3.0, "note", {"holds": []})
    said = history.asked_modes("chat")
    assert [(word.what, word.who, word.payload) for word in said] == [
        (Ask.RESUME, "alertmanager", {"holds": []}),
        (Ask.PAUSE, "ana", None),
    ]
    assert [word.who for word in history.asked_modes("chat", limit=1)] == ["alertmanager"]


def test_who_was_told_of_a_firing_alert(history: History) -> None:
    told = Alert("x", "TtftHigh", "warning", "chat", "slow", 10.0)
    untold = replace(told, fingerprint="y")
    again = replace(told, fingerprint="z", starts_at=99.0)
    history.record_alert(told, 10.0, [FIRING])
    history.record_alert(untold, 10.0)
    history.record_alert(again, 99.0)
    history.enqueue(replace(FIRING, fingerprint="z"), 10.0)  # of an earlier episode
    assert history.firing_alerts("chat") == [told, untold, again]
    assert history.firing_alerts("chat", "hook") == [told]
    assert history.firing_alerts("chat", "nobody") == []
    history.delivered(history.due(10.0, 50, "hook")[0].id, 11.0)
    assert history.firing_alerts("chat", "hook") == [told]
