from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from autotuner.alerts.chat import ChatMessage, ChatSender, chat_message, open_chat
from autotuner.alerts.delivery import DeliveryError
from autotuner.alerts.payload import webhook_payload
from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert

ALERT = Alert(
    "f1", "TtftHigh", "warning", "chat", "ttft is 2 s", 1_764_000_000.0, labels=(("tier", "hot"),)
)


def message(*alerts: Alert) -> ChatMessage:
    return chat_message(webhook_payload(alerts, "team"))


def test_a_firing_alert_in_words() -> None:
    assert message(ALERT) == ChatMessage(
        title="WARNING: TtftHigh on chat",
        body="ttft is 2 s\nsince 2025-11-24T16:00:00.000Z, tier=hot",
        mood="warning",
    )


def test_the_worst_severity_is_in_the_title() -> None:
    both = message(ALERT, replace(ALERT, severity="critical", fingerprint="f2"))
    assert both.title.startswith("CRITICAL: ")
    assert both.mood == "failure"
    assert both.body.count("ttft is 2 s") == 2


def test_a_resolved_alert_is_good_news() -> None:
    over = message(replace(ALERT, severity="critical", ends_at=1_764_000_060.0))
    assert (over.title, over.mood) == ("RESOLVED: TtftHigh on chat", "success")
    assert "from 2025-11-24T16:00:00.000Z to 2025-11-24T16:01:00.000Z" in over.body


def test_an_alert_without_a_summary_still_says_what_it_is() -> None:
    assert message(replace(ALERT, summary="")).body.startswith("TtftHigh\n")


def test_what_the_service_does_not_take_is_a_failure() -> None:
    payload, taken = webhook_payload([ALERT], "team"), list[ChatMessage]()

    def take(told: ChatMessage) -> bool:
        taken.append(told)
        return len(taken) > 1

    sender = ChatSender(take)
    with pytest.raises(DeliveryError, match="did not take it") as caught:
        sender.send(payload)
    assert caught.value.receiver_down
    sender.send(payload)
    assert taken == [message(ALERT)] * 2


def test_without_apprise_the_fix_is_told() -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    with pytest.raises(ConfigError, match=r"chats\.team.*install autotuner\[chat\]") as caught:
        open_chat("slack://s3cret", "chats.team.url_file", missing)
    assert "s3cret" not in str(caught.value)


class Service:
    """Stands in for apprise's: knows one URL, takes what it is told to take."""

    def __init__(self, takes: bool) -> None:
        self._takes, self.told = takes, list[dict[str, str]]()

    def add(self, url: str) -> bool:
        return url == "chat://known"

    def notify(self, **told: str) -> bool:
        self.told.append(told)
        return self._takes


def test_messages_go_through_the_service() -> None:
    service = Service(takes=True)
    package = SimpleNamespace(Apprise=lambda: service)
    open_chat("chat://known", "chats.team", lambda _name: package).send(
        webhook_payload([ALERT], "team")
    )
    (told,) = service.told
    assert told["title"] == "WARNING: TtftHigh on chat"
    assert (told["notify_type"], told["body"][:11]) == ("warning", "ttft is 2 s")


def test_a_url_that_no_service_has_is_refused() -> None:
    package = SimpleNamespace(Apprise=lambda: Service(takes=True))
    with pytest.raises(
        ConfigError, match=r"chats\.team: holds no URL that apprise knows"
    ) as caught:
        open_chat("s3cret://x", "chats.team", lambda _name: package)
    assert "s3cret" not in str(caught.value)
