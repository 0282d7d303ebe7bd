"""A running proxy: reloads and restarts under streaming load, and what each takes over."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from experiments.studies.proxy_overhead import changes
from experiments.studies.proxy_overhead.processes import (
    Running,
    proxy,
    start_proxy,
    write_config,
)
from tests.integration.proxy_command.conftest import CORES
from tests.integration.service.notices import Manager

pytestmark = pytest.mark.process


def settings(running: Running) -> dict[str, Any]:
    answer = requests.get(f"{running.url}/admin/settings", timeout=10)
    told: dict[str, Any] = answer.json()
    return told if answer.ok else {}


def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.05)


def completes(running: Running) -> bool:
    body = {"model": "source", "prompt": "x", "max_tokens": 2, "stream": True}
    return requests.post(f"{running.url}/v1/completions", json=body, timeout=30).ok


def accepts(running: Running) -> bool:
    try:
        return requests.get(f"{running.url}/health", timeout=10).status_code < 600
    except requests.ConnectionError:
        return False


def test_no_stream_is_lost_or_changed_over_reloads(
    server: Running, other_server: Running, file: Path
) -> None:
    urls = (server.url, other_server.url)
    row = asyncio.run(changes.reloads(file, CORES, urls, times=6, clients=8))
    assert row["told"] == []
    assert row["faults"] == 0
    assert row["requests"] >= 8


def test_no_stream_is_lost_or_changed_over_a_restart_on_a_held_socket(
    server: Running, file: Path
) -> None:
    row = asyncio.run(changes.restarts(file, CORES, server.url, times=2, clients=8))
    assert row["told"] == []
    assert row["faults"] == 0
    assert row["requests"] >= 16


def test_a_reload_takes_over_what_is_new_and_leaves_what_was_set_since(
    server: Running, file: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nowhere = f"http://127.0.0.1:{gone.getsockname()[1]}"
    write_config(file, [nowhere], live={"max_concurrency": 50, "max_queue": 10})
    with proxy(file, CORES) as running:
        until(lambda: bool(settings(running)))
        assert not completes(running)
        before = settings(running)
        body = {"generation": before["generation"], "settings": {"max_concurrency": 7}}
        assert requests.put(f"{running.url}/admin/settings", json=body, timeout=10).ok
        write_config(file, [server.url], live={"max_concurrency": 50, "max_queue": 20})
        running.reload()
        until(lambda: completes(running))
        after = settings(running)
        assert after["settings"] == {"max_concurrency": 7, "max_queue": 20}
        assert after["boot_id"] == before["boot_id"]
        assert after["generation"] > before["generation"] + 1


def test_a_file_that_is_wrong_leaves_all_as_it_was(
    server: Running, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_config(file, [server.url])
    with proxy(file, CORES) as running:
        until(lambda: completes(running))
        file.write_text("backends: []\n")
        running.reload()
        told = ""

        def refused() -> bool:
            nonlocal told
            told += capfd.readouterr().err
            return "reload refused, the old configuration runs on" in told

        until(refused)
        assert completes(running)


def test_the_service_manager_is_told(
    server: Running, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    try:
        write_config(file, [server.url])
        with proxy(file, CORES) as running:
            manager.wait_for(lambda told: told.get("READY") == "1")
            manager.wait_for(lambda told: told.get("WATCHDOG") == "1")
            running.reload()
            manager.wait_for(lambda told: told.get("RELOADING") == "1")
            manager.wait_for(lambda told: told.get("READY") == "1")
            running.ask_to_end()
            manager.wait_for(lambda told: told.get("STOPPING") == "1")
            assert running.process.wait(60) == 0
    finally:
        manager.close()


def test_a_second_signal_ends_a_proxy_that_waits_for_a_stream(server: Running, file: Path) -> None:
    write_config(file, [server.url], drain_s=600)
    with proxy(file, CORES) as running:
        until(lambda: completes(running))
        body = {"prompt": "x", "max_tokens": 1000, "gap_ms": 1000, "stream": True}
        with requests.post(f"{running.url}/v1/completions", json=body, stream=True, timeout=60):
            running.ask_to_end()
            until(lambda: not accepts(running))
            assert running.process.poll() is None
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(60) == 0


def test_an_open_socket_needs_a_token_whoever_opened_it(
    server: Running, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_config(file, [server.url])
    with socket.create_server(("0.0.0.0", 0)) as held:
        held.set_inheritable(True)
        with pytest.raises(RuntimeError, match="ended with 2"):
            start_proxy(file, CORES, held)
    assert "listen.admin_token_file" in capfd.readouterr().err


def test_a_socket_that_does_not_listen_is_refused(
    server: Running, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_config(file, [server.url])
    refused = pytest.raises(RuntimeError, match="ended with 2")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wrong, refused:
        start_proxy(file, CORES, wrong)
    assert "does not listen on TCP" in capfd.readouterr().err
