"""Where the daemon may listen, and what must then be configured."""

from __future__ import annotations

from typing import Any

import pytest

from autotuner.config import parse_config
from autotuner.domain.errors import ConfigError
from autotuner.fronts.loopback import is_loopback

TARGETS = [{"name": "chat", "url": "http://127.0.0.1:1"}]


def told(**listen: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        parse_config({"targets": TARGETS, "listen": listen})
    return str(raised.value)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "tuner.example", "", "::ffff:10.0.0.1"]
)
def test_beyond_loopback_tokens_are_needed(host: str) -> None:
    assert "listen.tokens_file" in told(host=host)
    listen = parse_config({"targets": TARGETS, "listen": {"host": host, "tokens_file": "t"}}).listen
    assert listen.beyond_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_needs_none(host: str) -> None:
    assert is_loopback(host)
    parse_config({"targets": TARGETS, "listen": {"host": host}})


def test_tls_needs_both_files() -> None:
    assert "tls_key" in told(tls_cert="c.pem")
    assert "tls_cert" in told(tls_key="k.pem")


def test_metrics_can_be_closed_only_with_tokens() -> None:
    assert "tokens_file" in told(open_metrics=False)
