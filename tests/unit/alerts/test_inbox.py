from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.inbox import (
    Action,
    IncomingAlert,
    Notification,
    NotUnderstoodError,
    read_notification,
)

ROW = {
    "status": "firing",
    "labels": {"alertname": "NodeDrain", "autotuner": "pause", "target": "chat"},
    "annotations": {},
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "abc",
}
BODY = {"version": "4", "groupKey": "{}:{}", "status": "firing", "alerts": [ROW]}


def one(row: dict[str, Any], **body: Any) -> IncomingAlert:
    (alert,) = read_notification({**BODY, "alerts": [row], **body}).alerts
    return alert


def test_what_an_alert_asks() -> None:
    alert = one(ROW)
    assert (alert.name, alert.firing, alert.action, alert.target) == (
        "NodeDrain",
        True,
        Action.PAUSE,
        "chat",
    )
    assert not one({**ROW, "status": "resolved"}).firing


def test_an_episode_keeps_its_key_whatever_its_status() -> None:
    key = one(ROW).key
    assert one({**ROW, "status": "resolved", "endsAt": "2026-01-01T01:00:00Z"}).key == key
    for other in (
        one({**ROW, "fingerprint": "abd"}),
        one({**ROW, "startsAt": "2026-01-02T00:00:00Z"}),
        one(ROW, groupKey="{}:{x}"),
    ):
        assert other.key != key


@pytest.mark.parametrize("field", ["status", "annotations", "startsAt", "endsAt", "fingerprint"])
def test_fields_may_be_missing(field: str) -> None:
    row = {key: value for key, value in ROW.items() if key != field}
    assert one(row).firing
    bare = {"alerts": [{"labels": ROW["labels"]}]}
    assert read_notification(bare).alerts[0].action is Action.PAUSE


def test_without_a_fingerprint_the_labels_tell_alerts_apart() -> None:
    row = {key: value for key, value in ROW.items() if key != "fingerprint"}
    other = {**row, "labels": {**ROW["labels"], "node": "b"}}  # type: ignore[dict-item]
    assert one(row).key == one(dict(reversed(row.items()))).key
    assert one(row).key != one(other).key


def test_the_groups_own_status_and_labels_stand_in() -> None:
    alert = one(
        {"labels": {"alertname": "X"}}, status="resolved", commonLabels={"autotuner": "start"}
    )
    assert (alert.firing, alert.action, alert.target) == (False, Action.START, None)


def test_others_are_passed_over_and_named() -> None:
    rows = [{"labels": {"alertname": "A"}}, {"labels": {"alertname": "B", "autotuner": "dance"}}]
    heard = read_notification({"alerts": rows})
    assert heard.alerts == ()
    assert heard.ignored == (
        "A: has no label 'autotuner'",
        "B: autotuner='dance' is unknown: give pause or start",
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "body: expected an object, found list"),
        ({"alerts": {}}, "alerts: expected a list, found dict"),
        ({"alerts": [1]}, r"alerts\[0\]: expected an object, found int"),
        ({"alerts": [{"labels": 1}]}, r"alerts\[0\]\.labels: expected an object"),
        ({"alerts": [{}], "commonLabels": ""}, "commonLabels: expected an object"),
    ],
)
def test_what_is_no_notification_is_refused(body: Any, words: str) -> None:
    with pytest.raises(NotUnderstoodError, match=words):
        read_notification(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["alerts", "labels", "autotuner", "status", "groupKey", "fingerprint"]),
            inner | st.sampled_from(["pause", "start"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(body: Any) -> None:
    with contextlib.suppress(NotUnderstoodError):
        assert isinstance(read_notification(body), Notification)
