"""Where the proxy accepts from: an address of its own, or what a service manager hands over."""

from __future__ import annotations

import os
import socket

import pytest

from autotuner.domain.errors import ConfigError
from autotuner.proxy.listener import listener


def test_without_a_manager_the_address_is_bound() -> None:
    environment = {"PATH": "/bin"}
    made, handed_over = listener("127.0.0.1", 0, environment)
    with made:
        assert not handed_over
        with socket.create_connection(made.getsockname()[:2], timeout=10):
            assert made.proto == socket.IPPROTO_TCP
    assert environment == {"PATH": "/bin"}


def test_what_is_meant_for_another_process_is_not_taken_and_not_passed_on() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    made, handed_over = listener("127.0.0.1", 0, environment)
    made.close()
    assert not handed_over
    assert environment == {}


def test_several_sockets_are_refused() -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
    with pytest.raises(ConfigError, match=r"LISTEN_FDS='2'.*ListenStream="):
        listener("127.0.0.1", 0, environment)


@pytest.mark.parametrize(("host", "said"), [("no.such.host.invalid", "no such address")])
def test_an_address_that_can_not_be_had_says_so(host: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        listener(host, 0, {})


def test_a_port_that_is_taken_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port={port}: can't listen there"):
            listener("127.0.0.1", port, {})
