"""Alerts posted over real HTTP in the shape of Alertmanager's API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from autotuner.alerts.alertmanager import PATH, AlertmanagerSender
from autotuner.alerts.delivery import DeliveryError
from autotuner.alerts.payload import rfc3339, webhook_payload
from autotuner.alerts.posting import Mailbox
from autotuner.domain.forecasts import Alert
from tests.integration.alerts.receiver import Receiver, free_port

pytestmark = pytest.mark.process

START = 1_764_000_000.0
ALERT = Alert("f1", "TtftHigh", "critical", "chat", "ttft is 2 s", START)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


def sender(
    port: int, token: str | None = None, login: tuple[str, str] | None = None
) -> AlertmanagerSender:
    mailbox = Mailbox(f"http://127.0.0.1:{port}{PATH}", 2.0, 0.5, login)
    return AlertmanagerSender(mailbox, token, repeat_s=60.0, clock=lambda: START + 30.0)


def test_firing_and_resolved_are_posted(receiver: Receiver) -> None:
    manager = sender(receiver.port)
    manager.send(webhook_payload([ALERT], "am"))
    manager.send(webhook_payload([replace(ALERT, ends_at=START + 90.0)], "am"))
    firing, resolved = (json.loads(body)[0] for body in receiver.bodies)
    assert receiver.paths == ["/api/v2/alerts"] * 2
    assert firing["endsAt"] == rfc3339(START + 30.0 + 240.0)
    assert resolved["endsAt"] == rfc3339(START + 90.0)
    assert firing["labels"] == resolved["labels"]
    assert firing["labels"]["alertname"] == "TtftHigh"


def test_how_it_says_who_it_is(receiver: Receiver) -> None:
    payload = webhook_payload([ALERT], "am")
    sender(receiver.port).send(payload)
    sender(receiver.port, token="t0ken").send(payload)
    sender(receiver.port, login=("ana", "s3cret")).send(payload)
    basic = base64.b64encode(b"ana:s3cret").decode()
    assert receiver.authorizations == [None, "Bearer t0ken", f"Basic {basic}"]


def test_down_slow_and_failing_are_told_apart(receiver: Receiver) -> None:
    payload = webhook_payload([ALERT], "am")
    with pytest.raises(DeliveryError, match="no answer"):
        sender(free_port()).send(payload)
    receiver.status = 500
    with pytest.raises(DeliveryError, match="answered 500") as caught:
        sender(receiver.port).send(payload)
    assert caught.value.receiver_down
    receiver.status = 400
    with pytest.raises(DeliveryError, match="answered 400") as caught:
        sender(receiver.port).send(payload)
    assert not caught.value.receiver_down
    receiver.silent = True
    with pytest.raises(DeliveryError, match="no answer"):
        sender(receiver.port).send(payload)
