"""Receivers of alerts in the configuration: what is refused, and how the refusal reads."""

from __future__ import annotations

from typing import Any

import pytest

from autotuner.config import parse_config
from autotuner.domain.errors import ConfigError

TARGETS = [{"name": "chat", "url": "http://127.0.0.1:8000"}]
HOOK = {"name": "pager", "url": "https://pager.example/hook"}
MANAGER = {"name": "am", "url": "http://am.example:9093"}
CHAT = {"name": "team", "url_file": "/etc/autotuner/team.url"}


def refused(**what: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config({"targets": TARGETS, **what})
    return str(caught.value)


def test_receivers_of_all_kinds_and_their_defaults() -> None:
    config = parse_config(
        {"targets": TARGETS, "webhooks": [HOOK], "alertmanagers": [MANAGER], "chats": [CHAT]}
    )
    assert config.receivers == ("pager", "am", "team")
    assert config.webhooks[0].max_per_minute == 60
    assert config.chats[0].max_per_minute == 20
    assert config.alertmanagers[0].repeat_s == 60.0
    assert config.alerts_in is None


def test_names_differ_over_all_kinds() -> None:
    words = refused(webhooks=[HOOK], chats=[{**CHAT, "name": "pager"}])
    assert "two receivers of alerts share a name: ['pager', 'pager']" in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"username": "ana"}, "give both username and password_file"),
        ({"password_file": "/x"}, "give both username and password_file"),
        (
            {"username": "ana", "password_file": "/x", "token_file": "/y"},
            "give token_file or username, not both",
        ),
        ({"url": "am.example:9093"}, "alertmanagers.0.url='am.example:9093'"),
        ({"repeat_s": 0}, "alertmanagers.0.repeat_s=0"),
        ({"max_per_minute": 0}, "alertmanagers.0.max_per_minute=0"),
        ({"name": ""}, "alertmanagers.0.name=''"),
        ({"secret_file": "/x"}, "alertmanagers.0.secret_file: unknown key"),
    ],
)
def test_an_alertmanager_that_can_not_be(changes: dict[str, Any], words: str) -> None:
    assert words in refused(alertmanagers=[{**MANAGER, **changes}])


def test_alerts_in_needs_a_token_and_known_actions() -> None:
    assert "alerts_in.token_file: missing" in refused(alerts_in={})
    both = refused(alerts_in={"token_file": "/x", "actions": ["stop"]})
    assert "alerts_in.actions.0='stop'" in both
