from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.domain.forecasts import Alert, AnomalyScore, Forecast, ForecastPoint
from autotuner.domain.mode import Mode
from autotuner.history.records import Ask, OutboxMessage
from autotuner.history.store import History

ALERT = Alert(
    fingerprint="f1",
    name="SLOMissed",
    severity="critical",
    target="chat",
    summary="attainment 71%",
    starts_at=100.0,
    labels=(("arm", "control"), ("tier", "slo")),
)
MESSAGE = OutboxMessage("hook", "f1", "firing", {"status": "firing", "value": math.nan}, 100.0)


def test_samples_are_one_row_a_bucket(history: History) -> None:
    history.append_samples("chat", [("rate_rps", 60.0, 1.5), ("ttft_s", 60.0, math.nan)])
    history.append_samples("chat", [("rate_rps", 120.0, 2.0), ("rate_rps", 60.0, 1.75)])
    history.append_samples("chat", [])
    assert history.samples("chat", "rate_rps", since=0.0) == [(60.0, 1.75), (120.0, 2.0)]
    assert history.samples("chat", "rate_rps", since=60.0, until=120.0) == [(60.0, 1.75)]
    assert math.isnan(history.samples("chat", "ttft_s", since=0.0)[0].value)
    assert history.series("chat") == ["rate_rps", "ttft_s"]


def test_the_latest_forecast(history: History) -> None:
    points = (ForecastPoint(60.0, 1.0, -math.inf, math.inf), ForecastPoint(120.0, 2.0, 1.5, 2.5))
    first = Forecast("rate_rps", 10.0, "seasonal", points, note="too few days for prophet")
    latest = replace(first, made_at=20.0, model="prophet", note="")
    assert history.latest_forecast("chat", "rate_rps") is None
    history.record_forecast("chat", latest)
    history.record_forecast("chat", first)
    assert history.latest_forecast("chat", "rate_rps") == latest


def test_anomalies(history: History) -> None:
    score = AnomalyScore("rate_rps", 60.0, 9.0, 1.0, math.inf, anomalous=True)
    quiet = AnomalyScore("rate_rps", 120.0, 1.0, 1.0, 0.1, anomalous=False, suppressed=True)
    history.record_anomalies("chat", [score, quiet])
    history.record_anomalies("chat", [replace(score, value=9.5)])
    assert history.anomalies("chat", since=0.0) == [quiet, replace(score, value=9.5)]
    assert history.anomalies("chat", since=61.0) == [quiet]


def test_an_alert_lives_through_one_row(history: History) -> None:
    history.record_alert(ALERT, 100.0)
    history.record_alert(replace(ALERT, summary="attainment 65%"), 110.0)
    assert history.firing_alerts("chat") == [replace(ALERT, summary="attainment 65%")]
    resolved = replace(ALERT, ends_at=150.0)
    history.record_alert(resolved, 150.0)
    again = replace(ALERT, starts_at=300.0)
    history.record_alert(again, 300.0)
    assert history.firing_alerts("chat") == [again]
    assert history.alerts("chat", since=0.0) == [again, resolved]
    assert history.alerts(since=200.0) == [again]


def test_an_alert_and_its_messages_are_one_transaction(history: History) -> None:
    bad = replace(MESSAGE, status="burning")
    with pytest.raises(HistoryError):
        history.record_alert(ALERT, 100.0, [MESSAGE, bad])
    assert history.firing_alerts("chat") == []
    assert history.due(1000.0) == []


def test_a_message_is_enqueued_once(history: History) -> None:
    assert history.enqueue(MESSAGE, 100.0)
    assert not history.enqueue(MESSAGE, 105.0)
    assert history.enqueue(replace(MESSAGE, status="resolved"), 110.0)
    assert history.enqueue(replace(MESSAGE, receiver="pager"), 110.0)
    assert history.enqueue(replace(MESSAGE, occasion_at=300.0), 300.0)
    assert len(history.due(1000.0)) == 4
    assert len(history.due(1000.0, limit=2)) == 2


def test_delivery_with_a_failure(history: History) -> None:
    history.enqueue(MESSAGE, 100.0)
    assert history.due(99.0) == []
    (message,) = history.due(100.0)
    assert (message.attempts, message.payload["value"]) == (0, "NaN")
    history.failed(message.id, "503", 130.0)
    assert history.due(129.0) == []
    (message,) = history.due(130.0)
    assert (message.attempts, message.last_error) == (1, "503")
    history.delivered(message.id, 131.0)
    assert history.due(1e12) == []
    assert not history.enqueue(MESSAGE, 140.0)
    with pytest.raises(HistoryError, match="no such undelivered message"):
        history.failed(message.id, "late", 200.0)


def test_a_message_given_up_is_never_due(history: History) -> None:
    history.enqueue(MESSAGE, 100.0)
    history.failed(history.due(100.0)[0].id, "410 gone", None)
    assert history.due(1e12) == []
    assert history.status("chat").undelivered == 1


def test_controls_are_handed_out_once_and_the_mode_stays(history: History) -> None:
    assert history.asked_mode("chat") is Mode.ACTIVE
    history.ask("chat", "pause", "ana", 10.0, note="deploy")
    history.ask("chat", Ask.ROLLBACK, "ben", 11.0)
    assert [(c.what, c.who, c.note) for c in history.take_controls("chat", 12.0)] == [
        (Ask.PAUSE, "ana", "deploy"),
        (Ask.ROLLBACK, "ben", ""),
    ]
    assert history.take_controls("chat", 13.0) == []
    assert history.asked_mode("chat") is Mode.PAUSED
    history.ask("chat", "resume", "ana", 20.0)
    assert history.asked_mode("chat") is Mode.ACTIVE
    with pytest.raises(ValueError, match="dance"):
        history.ask("chat", "dance", "ana", 21.0)


def test_status(history: History) -> None:
    assert history.status("chat").heartbeat is None
    history.record_alert(ALERT, 100.0, [MESSAGE])
    history.record_decision("chat", "HOLD", "idle", at=100.0)
    history.heartbeat("d1", "chat", at=100.0, sentence="held: idle", mode="active")
    history.heartbeat("d1", "chat", at=105.0, sentence="held: paused", mode=Mode.PAUSED)
    history.heartbeat("d0", "chat", at=50.0, sentence="long ago", mode=Mode.ACTIVE)
    status = history.status("chat")
    assert status.heartbeat is not None
    assert (status.heartbeat.sentence, status.heartbeat.cycles) == ("held: paused", 2)
    assert status.heartbeat.mode is Mode.PAUSED
    assert (status.firing_alerts, status.undelivered, status.verdicts) == (1, 1, {})
    assert status.last_decision is not None
    assert (status.incumbent, status.running) == (None, None)
