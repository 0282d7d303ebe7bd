from __future__ import annotations

import json

import pytest

from autotuner.alerts.payload import (
    encode,
    grouped,
    rfc3339,
    signature,
    webhook_payload,
    without_credentials,
)
from autotuner.domain.forecasts import Alert

FIRING = Alert(
    "0123456789abcdef",
    "HighTtft",
    "warning",
    "gpu-1",
    "ttft_p95_s is 2",
    1_769_846_400.25,
    None,
    (("series", "ttft_p95_s"), ("tier", "framework")),
)
RESOLVED = Alert(
    "fedcba9876543210",
    "HighTtft",
    "critical",
    "gpu-1",
    "itl is 2",
    1_769_846_400.0,
    1_769_846_460.0,
    (("series", "itl_p95_s"), ("tier", "framework")),
)


def test_a_firing_alert_has_exactly_the_webhook_shape() -> None:
    labels = {
        "alertname": "HighTtft",
        "severity": "warning",
        "target": "gpu-1",
        "series": "ttft_p95_s",
        "tier": "framework",
    }
    assert webhook_payload([FIRING], "pager", "http://tuner:9187") == {
        "version": "4",
        "groupKey": '{}:{alertname="HighTtft",target="gpu-1"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "pager",
        "groupLabels": {"alertname": "HighTtft", "target": "gpu-1"},
        "commonLabels": labels,
        "commonAnnotations": {"summary": "ttft_p95_s is 2"},
        "externalURL": "http://tuner:9187",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": {"summary": "ttft_p95_s is 2"},
                "startsAt": "2026-01-31T08:00:00.250Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://tuner:9187",
                "fingerprint": "0123456789abcdef",
            }
        ],
    }


def test_a_group_fires_while_one_of_it_does() -> None:
    both = webhook_payload([RESOLVED, FIRING], "pager")
    assert both["status"] == "firing"
    assert [row["status"] for row in both["alerts"]] == ["resolved", "firing"]
    assert both["commonLabels"] == {"alertname": "HighTtft", "target": "gpu-1", "tier": "framework"}
    assert both["commonAnnotations"] == {}
    alone = webhook_payload([RESOLVED], "pager")
    assert (alone["status"], alone["alerts"][0]["endsAt"]) == (
        "resolved",
        "2026-01-31T08:01:00.000Z",
    )


def test_firing_and_resolved_share_their_group() -> None:
    keys = {webhook_payload([a], "pager")["groupKey"] for a in (FIRING, RESOLVED)}
    assert len(keys) == 1


def test_alerts_are_grouped_by_name_and_target() -> None:
    elsewhere = Alert("aa", "HighTtft", "info", "gpu-2", "s", 0.0)
    groups = grouped([FIRING, elsewhere, RESOLVED], "pager")
    assert [[row["fingerprint"] for row in g["alerts"]] for g in groups] == [
        ["0123456789abcdef", "fedcba9876543210"],
        ["aa"],
    ]


def test_nothing_is_no_notification() -> None:
    assert grouped([], "pager") == []
    with pytest.raises(ValueError, match="at least one"):
        webhook_payload([], "pager")


def test_own_labels_can_not_be_overwritten() -> None:
    forged = Alert("aa", "A", "info", "t", "s", 0.0, None, (("alertname", "B"), ("target", "u")))
    labels = webhook_payload([forged], "pager")["alerts"][0]["labels"]
    assert (labels["alertname"], labels["target"]) == ("A", "t")


def test_passwords_in_urls_stay_here() -> None:
    leaky = Alert("aa", "A", "info", "http://bob:pw@gpu", "see https://bob:pw@host/x", 0.0)
    body = encode(webhook_payload([leaky], "pager", "https://eve:pw2@tuner"))
    assert b"pw" not in body
    assert b"https://host/x" in body
    assert without_credentials("a@b http://h/p@q?x=1") == "a@b http://h/p@q?x=1"


def test_the_body_is_plain_stable_json() -> None:
    payload = webhook_payload([FIRING], "pager é")
    assert json.loads(encode(payload)) == payload
    assert encode(dict(reversed(payload.items()))) == encode(payload)


def test_the_signature_is_hmac_sha256() -> None:
    # RFC 4231, test case 2
    assert signature(b"what do ya want for nothing?", "Jefe") == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@pytest.mark.parametrize(
    ("at", "text"), [(0.0, "1970-01-01T00:00:00.000Z"), (0.9999, "1970-01-01T00:00:00.999Z")]
)
def test_times_are_rfc3339(at: float, text: str) -> None:
    assert rfc3339(at) == text
