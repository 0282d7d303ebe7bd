"""Delivery to a real receiver that is down, slow, failing, and up again."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from autotuner.alerts.delivery import MAX_DELAY_S, Courier, DeliveryError
from autotuner.alerts.lifecycle import AlertState, Timing
from autotuner.alerts.outbox import MemoryOutbox
from autotuner.alerts.payload import SIGNATURE_HEADER, grouped, signature
from autotuner.alerts.rules import AlertRule, Readings, Tier, evaluate
from autotuner.alerts.webhook import WebhookSender

pytestmark = pytest.mark.process

SECRET = "s3cret-key"
PATH = "/hook/t0ken"


class Receiver:
    """An HTTP server whose answer can be changed; keeps the bodies and headers that came."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.silent = False
        self.bodies: list[bytes] = []
        self.signatures: list[str | None] = []
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.signatures.append(self.headers[SIGNATURE_HEADER])
                if receiver.silent:
                    receiver._released.wait(30.0)
                    return
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sender(url: str, secret: str | None = None) -> WebhookSender:
    return WebhookSender(url, secret, connect_s=2.0, read_s=0.3)


def statuses(receiver: Receiver) -> list[tuple[str, str]]:
    rows = [row for body in receiver.bodies for row in json.loads(body)["alerts"]]
    return [(row["labels"]["alertname"], row["status"]) for row in rows]


RULES = [
    AlertRule(name, Tier.FRAMEWORK, name, threshold=1.0, timing=Timing(0.0, 0.0))
    for name in ("ttft", "itl")
]


class Story:
    """Rules, outbox and courier as the daemon joins them, on a clock of its own."""

    def __init__(self, url: str) -> None:
        self.outbox = MemoryOutbox()
        self.courier = Courier(self.outbox, {"hook": sender(url, SECRET)}, seed=1)
        self.now = 1e9
        self._states: dict[str, AlertState] = {}

    def look(self, **values: float) -> None:
        self.now += MAX_DELAY_S
        self._states, changed = evaluate(RULES, self._states, Readings(values), self.now, "t")
        for payload in grouped(changed, "hook"):
            self.outbox.add("hook", payload)
        self.courier.deliver_due(self.now)


def test_every_alert_arrives_and_resolved_follows_firing() -> None:
    port = free_port()
    story = Story(f"http://127.0.0.1:{port}{PATH}")
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
