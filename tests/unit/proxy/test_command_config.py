"""The proxy's configuration: what it means, and what is refused with field, value and fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from autotuner.domain.errors import ConfigError
from autotuner.proxy.config import (
    PORT,
    ProxyConfig,
    load_proxy_config,
    options_of,
    short_config,
)
from autotuner.proxy.options import ProxyOptions

ONE = [{"url": "http://10.0.0.1:8000"}]


def read(folder: Path, told: Any) -> ProxyConfig:
    path = folder / "proxy.yaml"
    path.write_text(told if isinstance(told, str) else yaml.safe_dump(told), encoding="utf-8")
    return load_proxy_config(path)


def refusal(folder: Path, told: Any) -> str:
    with pytest.raises(ConfigError) as found:
        read(folder, told)
    return str(found.value)


def test_a_backend_is_enough_and_the_rest_is_as_core_has_it(tmp_path: Path) -> None:
    config = read(tmp_path, {"backends": ONE})
    standard = ProxyOptions()
    options = options_of(config)
    assert (config.listen.host, config.listen.port) == ("127.0.0.1", PORT)
    assert options.weights == {"10.0.0.1:8000": 1.0}
    for name in ("max_concurrency", "max_queue", "drain_s", "usage", "exposure_ring"):
        assert getattr(options, name) == getattr(standard, name)
    assert options.admin_token is None


def test_everything_said_reaches_the_options(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    config = read(
        tmp_path,
        {
            "listen": {"host": "0.0.0.0", "port": 80, "admin_token_file": str(token)},
            "backends": [
                {"url": "http://a:8000/v1/", "name": "left", "weight": 3},
                {"url": "https://b", "weight": 0},
            ],
            "live": {"max_concurrency": 64, "max_queue": 0},
            "usage": "leave",
            "upstream_token_file": str(token),
            "drain_s": 5,
            "connect_timeout_s": 1,
            "request_timeout_s": 60,
            "max_body_bytes": 2048,
            "exposure_ring": 1000,
        },
    )
    assert (config.listen.host, config.listen.port) == ("0.0.0.0", 80)
    assert [one.backend.url for one in config.backends] == ["http://a:8000", "https://b"]
    assert options_of(config) == ProxyOptions(
        admin_token="0123456789abcdef", max_concurrency=64, max_queue=0,
        weights={"left": 3.0, "b": 0.0}, usage="leave", max_body_bytes=2048,
        connect_timeout_s=1.0, request_timeout_s=60.0, drain_s=5.0, exposure_ring=1000,
        upstream_token="0123456789abcdef",
    )  # fmt: skip


def test_the_short_form_is_a_file_with_backends_alone() -> None:
    config = short_config(("http://127.0.0.1:8000",), "127.0.0.1", 0)
    assert config.listen.port == 0
    assert [one.backend.name for one in config.backends] == ["127.0.0.1:8000"]
    with pytest.raises(ConfigError, match="the command line"):
        short_config(("127.0.0.1:8000",), "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ({}, ["give either backends", "or engine"]),
        ({"backends": ONE, "engine": {}}, ["engine"]),
        ({"backends": ONE, "drains": 3}, ["drains: unknown key"]),
        ({"backends": [{"url": "10.0.0.1:8000"}]}, ["backends.0.url", "http://"]),
        ({"backends": [{"url": "http://u:hunter2@a"}]}, ["upstream_token_file"]),
        ({"backends": [{"url": "http://a?x=1"}]}, ["base address"]),
        ({"backends": [*ONE, *ONE]}, ["url http://10.0.0.1:8000 is there twice"]),
        (
            {"backends": [{"url": "http://a", "name": "x"}, {"url": "http://b", "name": "x"}]},
            ["name x is there twice"],
        ),
        ({"backends": [{"url": "http://a", "weight": 0}]}, ["every weight is 0"]),
        ({"backends": [{"url": "http://a", "weight": -1}]}, ["backends.0.weight=-1"]),
        ({"backends": ONE, "live": {"max_concurrency": 0}}, ["live.max_concurrency=0"]),
        ({"backends": ONE, "live": {"max_concurrency": 4097}}, ["live.max_concurrency=4097"]),
        ({"backends": ONE, "usage": "guess"}, ["usage='guess'", "ask"]),
        ({"backends": ONE, "drain_s": 0}, ["drain_s=0"]),
        (
            {"backends": ONE, "listen": {"host": "0.0.0.0"}},
            ["host='0.0.0.0'", "listen.admin_token_file", "127.0.0.1"],
        ),
        ({"backends": ONE, "listen": {"tls_cert": "c.pem"}}, ["listen.tls_key"]),
        ("backends: [", ["not valid YAML"]),
        ("- a", ["expected keys and values"]),
    ],
)
def test_what_is_refused_says_field_value_and_fix(
    tmp_path: Path, told: Any, names: list[str]
) -> None:
    said = refusal(tmp_path, told)
    assert "proxy.yaml" in said
    for name in names:
        assert name in said
    assert "hunter2" not in said


def test_a_token_that_is_weak_or_missing_is_refused_without_being_told(tmp_path: Path) -> None:
    token = tmp_path / "token"
    config = read(tmp_path, {"backends": ONE, "listen": {"admin_token_file": str(token)}})
    with pytest.raises(ConfigError, match=r"listen\.admin_token_file.*can't be read"):
        options_of(config)
    token.write_text("hunter2")
    with pytest.raises(ConfigError, match="7 characters are too few") as found:
        options_of(config)
    assert "hunter2" not in str(found.value)
