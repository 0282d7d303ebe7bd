"""Alerts from an Alertmanager over a real history: they pause and let go, across restarts."""

from __future__ import annotations

from typing import Any

import pytest

from autotuner.alerts.inbox import Action, NotUnderstoodError
from autotuner.domain.mode import Mode
from autotuner.hearing import AlertsIn
from autotuner.history.store import History

MODES = {"chat": Mode.ACTIVE, "code": Mode.ADVISORY}


def body(status: str, action: str = "pause", **labels: str) -> dict[str, Any]:
    told = {"alertname": "NodeDrain", "autotuner": action, **labels}
    row = {"status": status, "labels": told, "fingerprint": "f1", "startsAt": "2026-01-01"}
    return {"version": "4", "groupKey": "g", "alerts": [row]}


@pytest.fixture
def both(history: History) -> History:
    history.record_target("code", kind="worker", url="u", at=1.0)
    return history


def asked(history: History, target: str) -> list[str]:
    return [control.what.value for control in history.asked_modes(target)]


def test_an_alert_pauses_its_target_until_it_is_over(both: History) -> None:
    assert AlertsIn(both, MODES).take(body("firing", target="chat"), 10.0) == [
        "chat: NodeDrain pauses tuning"
    ]
    (control,) = both.take_controls("chat", 11.0)
    assert (control.what, control.who) == ("pause", "alertmanager")
    assert both.asked_mode("chat") is Mode.PAUSED
    assert asked(both, "code") == []
    AlertsIn(both, MODES).take(body("resolved", target="chat"), 20.0)
    assert both.asked_mode("chat") is Mode.ACTIVE


def test_a_group_that_is_sent_again_after_a_restart_overrules_no_person(both: History) -> None:
    AlertsIn(both, MODES).take(body("firing", target="chat"), 10.0)
    both.ask("chat", "resume", "ana", 15.0)
    told = AlertsIn(both, MODES).take(body("firing", target="chat"), 20.0)
    assert told == ["chat: NodeDrain: known already"]
    assert asked(both, "chat") == ["resume", "pause"]


def test_without_a_target_it_is_about_all_and_each_gets_its_own_mode_back(both: History) -> None:
    AlertsIn(both, MODES).take(body("firing"), 10.0)
    AlertsIn(both, MODES).take(body("resolved"), 20.0)
    assert asked(both, "chat") == ["resume", "pause"]
    assert asked(both, "code") == ["advisory", "pause"]


def test_what_is_not_done_is_said(both: History) -> None:
    hearing = AlertsIn(both, MODES, frozenset({Action.PAUSE}))
    assert hearing.take(body("firing", "start"), 10.0) == [
        "NodeDrain: start is not among alerts_in.actions"
    ]
    assert hearing.take(body("firing", target="moon"), 10.0) == [
        "NodeDrain: target 'moon' is unknown; known are chat, code"
    ]
    assert hearing.take({"alerts": [{"labels": {"alertname": "Z"}}]}, 10.0) == [
        "Z: has no label 'autotuner'"
    ]
    assert asked(both, "chat") == asked(both, "code") == []


def test_a_body_that_is_refused_changes_nothing(both: History) -> None:
    broken = body("firing")
    broken["alerts"].append(7)
    with pytest.raises(NotUnderstoodError):
        AlertsIn(both, MODES).take(broken, 10.0)
    assert asked(both, "chat") == []
