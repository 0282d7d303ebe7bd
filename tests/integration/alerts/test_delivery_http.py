"""Delivery to a real receiver that is down, slow, failing, and up again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from autotuner.alerts.delivery import MAX_DELAY_S, Courier, DeliveryError
from autotuner.alerts.lifecycle import AlertState, Timing
from autotuner.alerts.limits import Limit, LimitKind
from autotuner.alerts.outbox import MemoryOutbox
from autotuner.alerts.pace import Pace
from autotuner.alerts.payload import grouped, signature
from autotuner.alerts.rules import AlertRule, Readings, Tier, evaluate
from autotuner.alerts.webhook import WebhookSender
from tests.integration.alerts.receiver import HOOK, Receiver, free_port

pytestmark = pytest.mark.process

SECRET = "s3cret-key"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


def sender(url: str, secret: str | None = None) -> WebhookSender:
    return WebhookSender(url, secret, connect_s=2.0, read_s=0.3)


def statuses(receiver: Receiver) -> list[tuple[str, str]]:
    rows = [row for body in receiver.bodies for row in json.loads(body)["alerts"]]
    return [(row["labels"]["alertname"], row["status"]) for row in rows]


RULES = [
    AlertRule(name, Tier.FRAMEWORK, name, Limit(LimitKind.ABOVE, 1.0), Timing(0.0, 0.0))
    for name in ("ttft", "itl")
]


class Story:
    """Rules, outbox and courier as the daemon joins them, on a clock of its own."""

    def __init__(self, url: str) -> None:
        self.outbox = MemoryOutbox()
        self.courier = Courier(self.outbox, "hook", sender(url, SECRET), Pace(100), seed=1)
        self.now = 1e9
        self._states: dict[str, AlertState] = {}

    def look(self, **values: float) -> None:
        self.now += MAX_DELAY_S
        self._states, changes = evaluate(RULES, self._states, Readings(values), self.now, "t")
        for payload in grouped([change.alert for change in changes], "hook"):
            self.outbox.add("hook", payload, payload["alerts"][0]["fingerprint"])
        self.courier.deliver_due(self.now)


def test_every_alert_arrives_and_resolved_follows_firing() -> None:
    port = free_port()
    story = Story(f"http://127.0.0.1:{port}{HOOK}")
    story.look(ttft=2.0, itl=0.0)  # nobody listens
    assert [e.error for e in story.outbox.undelivered()] == ["no answer (ConnectionError)"]
    receiver = Receiver(port)
    try:
        receiver.status = 500
        story.look(ttft=0.0, itl=2.0)
        assert {e.error for e in story.outbox.undelivered()} >= {"answered 500"}
        receiver.silent = True
        story.look(ttft=0.0, itl=0.0)
        assert "no answer (ReadTimeout)" in {e.error for e in story.outbox.undelivered()}
        receiver.silent, receiver.status = False, 204
        receiver.bodies.clear()
        story.look(ttft=0.0, itl=0.0)
        story.look(ttft=0.0, itl=0.0)  # what came later about the same alerts
    finally:
        receiver.close()
    assert story.outbox.undelivered() == ()
    got = statuses(receiver)
    assert set(got) == {(n, s) for n in ("ttft", "itl") for s in ("firing", "resolved")}
    for name in ("ttft", "itl"):
        assert [status for n, status in got if n == name] == ["firing", "resolved"]


def test_bodies_are_signed_as_sent(receiver: Receiver) -> None:
    sender(receiver.url, SECRET).send({"text": "größer"})
    sender(receiver.url).send({"text": "plain"})
    assert receiver.signatures == [signature(receiver.bodies[0], SECRET), None]
    assert json.loads(receiver.bodies[0]) == {"text": "größer"}


@pytest.mark.parametrize(
    ("status", "down"), [(400, False), (422, False), (404, True), (429, True), (503, True)]
)
def test_who_is_to_blame_for_a_refusal(receiver: Receiver, status: int, down: bool) -> None:
    receiver.status, receiver.headers = status, {"Retry-After": "7"}
    with pytest.raises(DeliveryError, match=f"answered {status}") as caught:
        sender(receiver.url).send({})
    assert (caught.value.receiver_down, caught.value.retry_after_s) == (down, 7.0)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 307, {"Location": receiver.url, "Retry-After": "soon"}
    with pytest.raises(DeliveryError, match="answered 307"):
        sender(receiver.url).send({})
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://user:t0ken@127.0.0.1:{port}/t0ken",
        "http://nowhere.invalid/t0ken",
        "ftp://host/t0ken",
        "http:///t0ken",
    ],
)
def test_secrets_are_in_no_error_and_no_log(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hook = sender(url.format(port=free_port()), SECRET)
    with pytest.raises(DeliveryError) as caught:
        hook.send({})
    told = f"{caught.value!r} {caught.value} {caught.value.__cause__} {hook!r} {caplog.text}"
    assert caught.value.__suppress_context__
    assert "t0ken" not in told
    assert SECRET not in told


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_a_payload_that_is_no_json_blames_no_receiver(receiver: Receiver, value: object) -> None:
    with pytest.raises(DeliveryError, match="payload: ") as caught:
        sender(receiver.url).send({"value": value})
    assert not caught.value.receiver_down
    assert receiver.bodies == []


def test_notifications_of_one_alert_agree_on_its_identity(receiver: Receiver) -> None:
    story = Story(receiver.url)
    story.look(ttft=2.0)
    story.look(ttft=0.0)
    first, second = [json.loads(body)["alerts"][0] for body in receiver.bodies]
    assert first["fingerprint"] == second["fingerprint"]
    assert first["startsAt"] == second["startsAt"]
    assert (first["status"], second["status"]) == ("firing", "resolved")
