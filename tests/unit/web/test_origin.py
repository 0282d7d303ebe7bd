"""Which Host names are ours, and which requests a foreign page may have sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.config.listen import ListenConfig
from autotuner.web.origin import foreign, host_names, host_of, may_name

LOOPBACK = ListenConfig()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"), ("LocalHost:9187", "localhost"), ("[::1]:9187", "::1"),
        ("127.0.0.1:1", "127.0.0.1"), ("", None), ("a b", None), ("a@localhost", None),
        ("localhost/x", None), ("[::1", None), ("localhost:99999999", None), ("ü", None),
        ("localhost\\@evil", None), ("localhost:x", None), ("::1]", None),
    ],
)  # fmt: skip
def test_the_name_in_a_host_header(header: str, name: str | None) -> None:
    assert host_of(header) == name


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("localhost:9187", True), ("127.0.0.1:9187", True), ("[::1]:9187", True),
        ("127.0.0.2", True), ("evil.example", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False), ("", False), ("10.0.0.1", False),
    ],
)  # fmt: skip
def test_on_loopback_only_its_own_names_come_in(header: str, ours: bool) -> None:
    assert may_name(header, host_names(LOOPBACK)) is ours


def test_a_configured_name_comes_in_and_others_do_not() -> None:
    names = host_names(ListenConfig(hosts=("Tuner.example",)))
    assert may_name("tuner.example", names)
    assert may_name("localhost", names)
    assert not may_name("other.example", names)


def test_beyond_loopback_any_name_comes_in_unless_names_are_given() -> None:
    assert host_names(ListenConfig(host="0.0.0.0", tokens_file=Path("t"))) is None
    names = host_names(
        ListenConfig(host="0.0.0.0", tokens_file=Path("t"), hosts=("tuner.example",))
    )
    assert may_name("tuner.example:9187", names)
    assert not may_name("127.0.0.1", names)


HOST = {"host": "localhost:9187"}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-autotuner": "1"},
        {"origin": "http://localhost:9187"},
        {"origin": "https://localhost:9187"},  # a proxy ended TLS
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin", "origin": "http://localhost:9187"},
    ],
)
def test_our_own_page_and_other_clients_may_act(headers: dict[str, str]) -> None:
    assert foreign(HOST | headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9188"},
        {"origin": "http://localhost"},
        {"origin": "file://localhost:9187"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "origin": "http://localhost:9187"},
        {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
        {"origin": "http://evil.example", "x-autotuner": "1"},
        {"sec-fetch-site": "cross-site", "x-autotuner": "1"},
    ],
)
def test_a_foreign_page_may_not(headers: dict[str, str]) -> None:
    assert foreign(HOST | headers) is not None


def test_default_ports_are_left_out_by_browsers() -> None:
    assert foreign({"host": "tuner.example", "origin": "https://tuner.example"}) is None
    assert foreign({"host": "tuner.example:443", "origin": "https://tuner.example"}) is None
    assert foreign({"host": "tuner.example", "origin": "https://tuner.example:8443"}) is not None
