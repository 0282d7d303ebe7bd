"""Alerts as short messages to chat services, through apprise, which is imported only here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autotuner.alerts.delivery import DeliveryError
from autotuner.domain.errors import ConfigError

_MOODS = {"critical": "failure", "warning": "warning", "info": "info"}
_SHOWN_ELSEWHERE = frozenset({"alertname", "severity", "target"})


@dataclass(frozen=True)
class ChatMessage:
    """What a person reads. `mood` is apprise's type of notification: it picks the colour."""

    title: str
    body: str
    mood: str


Notify = Callable[[ChatMessage], bool]


class ChatSender:
    """Sends through `notify`, which says whether the service took the message, and not why."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify

    def send(self, payload: Mapping[str, Any]) -> None:
        """Raises DeliveryError unless the service took the message."""
        if not self._notify(chat_message(payload)):
            raise DeliveryError("the chat service did not take it")


def chat_message(payload: Mapping[str, Any]) -> ChatMessage:
    """A webhook body in words: the worst severity in the title, a line or two per alert."""
    alerts = payload["alerts"]
    group, firing = payload["groupLabels"], payload["status"] == "firing"
    severities = {alert["labels"]["severity"] for alert in alerts}
    worst = next((known for known in _MOODS if known in severities), "info")
    word = worst.upper() if firing else "RESOLVED"
    return ChatMessage(
        title=f"{word}: {group['alertname']} on {group['target']}",
        body="\n".join(map(_lines, alerts)),
        mood=_MOODS[worst] if firing else "success",
    )


def _lines(alert: Mapping[str, Any]) -> str:
    summary = alert["annotations"].get("summary") or alert["labels"]["alertname"]
    details = [f"{k}={v}" for k, v in alert["labels"].items() if k not in _SHOWN_ELSEWHERE]
    span = f"since {alert['startsAt']}"
    if alert["status"] != "firing":
        span = f"from {alert['startsAt']} to {alert['endsAt']}"
    return f"{summary}\n{', '.join([span, *details])}"


def open_chat(
    url: str, field: str, load: Callable[[str], Any] = importlib.import_module
) -> ChatSender:
    """The service at apprise's `url`. Raises ConfigError naming `field`, never the URL."""
    try:
        apprise = load("apprise")
    except ModuleNotFoundError as error:
        fix = "install autotuner[chat], or take the chats out"
        raise ConfigError(f"{field}: the package apprise is missing: {fix}") from error
    service = apprise.Apprise()
    if not service.add(url):
        raise ConfigError(
            f"{field}: holds no URL that apprise knows, such as slack://… or mailto://…"
        )

    def notify(message: ChatMessage) -> bool:
        return bool(
            service.notify(body=message.body, title=message.title, notify_type=message.mood)
        )

    return ChatSender(notify)
