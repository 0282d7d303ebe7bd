"""The real apprise, speaking to a real receiver."""

from __future__ import annotations

import json

import pytest

from autotuner.alerts.chat import open_chat
from autotuner.alerts.delivery import DeliveryError
from autotuner.alerts.payload import webhook_payload
from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert
from tests.integration.alerts.receiver import Receiver

pytestmark = [
    pytest.mark.process,
    # Some of apprise's plugins import what Python itself has deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
pytest.importorskip("apprise", reason="the extra `chat` is not installed")

PAYLOAD = webhook_payload(
    [Alert("f1", "TtftHigh", "critical", "chat", "ttft is 2 s", 1_764_000_000.0)], "team"
)


def test_a_message_arrives_and_a_refusal_is_a_failure() -> None:
    receiver = Receiver()
    try:
        sender = open_chat(f"json://127.0.0.1:{receiver.port}/hook", "chats.team.url_file")
        sender.send(PAYLOAD)
        receiver.status = 500
        with pytest.raises(DeliveryError):
            sender.send(PAYLOAD)
    finally:
        receiver.close()
    told = json.loads(receiver.bodies[0])
    assert told["title"] == "CRITICAL: TtftHigh on chat"
    assert told["message"].startswith("ttft is 2 s")
    assert told["type"] == "failure"


def test_a_url_of_no_service_is_refused() -> None:
    with pytest.raises(ConfigError, match="holds no URL that apprise knows"):
        open_chat("s3cret-without-scheme://", "chats.team.url_file")
