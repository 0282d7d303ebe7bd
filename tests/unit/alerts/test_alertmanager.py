from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autotuner.alerts.alertmanager import AlertmanagerSender, Repeats, postable
from autotuner.alerts.delivery import DeliveryError
from autotuner.alerts.payload import rfc3339, webhook_payload
from autotuner.alerts.posting import Mailbox
from autotuner.domain.forecasts import Alert

START = 1_764_000_000.0
UNTIL = START + 240.0
ALERT = Alert("f1", "TtftHigh", "critical", "chat", "ttft is 2 s", START, labels=(("tier", "x"),))


def rows(*alerts: Alert, url: str = "") -> list[dict[str, Any]]:
    return postable(webhook_payload(alerts, "am", url), UNTIL)


def test_a_firing_alert_ends_by_itself_unless_it_is_told_again() -> None:
    assert rows(ALERT) == [
        {
            "labels": {
                "alertname": "TtftHigh",
                "severity": "critical",
                "target": "chat",
                "tier": "x",
            },
            "annotations": {"summary": "ttft is 2 s"},
            "startsAt": rfc3339(START),
            "endsAt": rfc3339(UNTIL),
        }
    ]


def test_a_resolved_alert_has_ended_when_it_did() -> None:
    (row,) = rows(replace(ALERT, ends_at=START + 60.0))
    assert (row["startsAt"], row["endsAt"]) == (rfc3339(START), rfc3339(START + 60.0))


def test_firing_and_resolved_have_the_same_labels() -> None:
    firing, resolved = rows(ALERT, replace(ALERT, ends_at=START + 60.0))
    assert firing["labels"] == resolved["labels"]


def test_label_names_are_made_fit_and_empty_ones_left_out() -> None:
    odd = replace(ALERT, labels=(("a.b-c", "1"), ("9lives", "2"), ("none", "")))
    labels = rows(odd)[0]["labels"]
    assert (labels["a_b_c"], labels["_9lives"]) == ("1", "2")
    assert "none" not in labels


def test_a_link_is_given_only_where_there_is_one() -> None:
    assert rows(ALERT, url="http://tuner:9187")[0]["generatorURL"] == "http://tuner:9187"
    assert "generatorURL" not in rows(ALERT)[0]


class Told(AlertmanagerSender):
    """Keeps what it was to post."""

    def __init__(self, problem: DeliveryError | None = None) -> None:
        super().__init__(Mailbox("http://am"))
        self.problem, self.told = problem, list[list[str]]()

    def send(self, payload: Any) -> None:
        self.told.append([alert["fingerprint"] for alert in payload["alerts"]])
        if self.problem:
            raise self.problem


def repeats(firing: Sequence[Alert], sender: Told) -> Repeats:
    return Repeats("am", lambda: firing, sender, repeat_s=60.0)


def test_what_fires_is_told_again_on_time_and_in_one_go() -> None:
    sender, firing = Told(), [ALERT, replace(ALERT, fingerprint="f2", target="other")]
    told_again = repeats(firing, sender)
    for now in (0.0, 2.0, 59.0, 60.0, 61.0, 125.0):
        assert told_again.run(START + now) is None
    assert sender.told == [["f1", "f2"]] * 3
    firing.clear()
    assert told_again.run(START + 300.0) is None
    assert len(sender.told) == 3


def test_a_failure_is_told_and_not_retried_before_time() -> None:
    sender = Told(DeliveryError("answered 500"))
    told_again = repeats([ALERT], sender)
    assert told_again.run(START) == "1 firing alerts were not told again to am: answered 500"
    assert told_again.run(START + 2.0) is None
    assert len(sender.told) == 1


def test_neither_address_nor_token_is_shown() -> None:
    mailbox = Mailbox("http://user:t0ken@am/t0ken", login=("user", "t0ken"))
    assert "t0ken" not in f"{mailbox!r} {AlertmanagerSender(mailbox, 't0ken')!r}"
