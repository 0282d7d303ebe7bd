"""The notify protocol over a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.systemd import Supervisor, supervisor_of
from tests.integration.service.notices import Manager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "n") if request.param == "path" else f"@autotuner-test-{os.getpid()}"
    made = Manager(address)
    try:
        yield made
    finally:
        made.close()


def test_each_message_comes_as_the_protocol_has_it(manager: Manager) -> None:
    told = Supervisor(manager.address, watchdog_s=60.0)
    told.ready("chat: HOLD\nall is well")
    assert manager.hear(5) == {"READY": "1", "STATUS": "chat: HOLD all is well"}
    before = time.monotonic_ns() // 1000
    told.reloading()
    reloading = manager.hear(5)
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    told.status("one", alive=True)
    assert manager.hear(5) == {"WATCHDOG": "1", "STATUS": "one"}
    told.status("two", alive=False)
    assert manager.hear(5) == {"STATUS": "two"}
    told.stopping("bye")
    assert manager.hear(5) == {"STOPPING": "1", "STATUS": "bye"}


def test_no_sign_of_life_is_sent_where_nobody_waits_for_it(manager: Manager) -> None:
    Supervisor(manager.address).status("one", alive=True)
    assert manager.hear(5) == {"STATUS": "one"}


def test_a_long_sentence_is_cut(manager: Manager) -> None:
    Supervisor(manager.address).status("é" * 1000, alive=False)
    status = manager.hear(5)["STATUS"]
    assert len(status) == 400
    assert status.endswith("…")


def test_a_manager_that_is_gone_or_does_not_read_disturbs_nobody(tmp_path: Path) -> None:
    Supervisor(str(tmp_path / "gone")).ready("x")
    address = f"@autotuner-full-{os.getpid()}"
    full = Manager(address)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            taken = 0
            with contextlib.suppress(BlockingIOError):
                for taken in range(100_000):  # noqa: B007
                    filler.sendto(b"x=1", "\0" + address[1:])
            Supervisor(address).ready("x")
        assert 0 < taken < 99_999
        assert [full.hear(1) for _ in range(taken)] == [{"x": "1"}] * taken
    finally:
        full.close()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, Supervisor()),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, Supervisor()),
        ({"NOTIFY_SOCKET": "/run/n"}, Supervisor("/run/n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "6000000"}, Supervisor("@n", 6.0)),
        (
            {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "1"},
            Supervisor("@n"),
        ),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "soon"}, Supervisor("@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "0"}, Supervisor("@n")),
    ],
)
def test_the_environment_says_who_supervises(
    environment: dict[str, str], wanted: Supervisor
) -> None:
    assert supervisor_of(environment) == wanted
