"""A real daemon under a service manager's eyes: ready, reloaded, stopped; with a real worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from autotuner.domain.experiment import Verdict
from tests.integration.alerts.receiver import free_port
from tests.integration.daemon.processes import Rig, until
from tests.integration.service.notices import Manager

pytestmark = pytest.mark.process


class Watched:
    """The rig's daemon with a manager's socket, and a configuration that can be changed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig = Rig(folder)
        self.manager = Manager(f"@autotuner-live-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", self.manager.address)
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        self.config: dict[str, Any] = {}

    def start(self, **more: Any) -> subprocess.Popen[str]:
        self.rig.start_worker()
        self.rig.start_load()
        self.write_policy(self.rig.policy)
        target = {"name": "t", "url": self.rig.url, "policy": str(self.rig.folder / "policy.yaml")}
        self.config = {
            "history": self.rig.history_url,
            "targets": [{**target, "timeout_s": 1}],
            "cycle_s": 0.2,
            "listen": {"port": free_port()},
            "log": {"format": "json"},
            **more,
        }
        self.write(self.config)
        return self.run()

    def run(self) -> subprocess.Popen[str]:
        words = ["run", "--config", str(self.rig.folder / "autotuner.yaml")]
        return self.rig._start("daemon", [sys.executable, "-m", "autotuner", *words])

    def write(self, config: dict[str, Any]) -> None:
        (self.rig.folder / "autotuner.yaml").write_text(yaml.safe_dump(config))

    def write_policy(self, policy: dict[str, Any]) -> None:
        (self.rig.folder / "policy.yaml").write_text(yaml.safe_dump(policy))

    def reload(self, daemon: subprocess.Popen[str]) -> str:
        """Sends the signal and waits until the reload is over; returns what was said of it."""
        daemon.send_signal(signal.SIGHUP)
        self.manager.wait_for(
            lambda told: told.get("RELOADING") == "1" and "MONOTONIC_USEC" in told
        )
        return self.manager.wait_for(lambda told: told.get("READY") == "1")["STATUS"]

    def health(self) -> dict[str, Any]:
        port = self.config["listen"]["port"]
        told: dict[str, Any] = requests.get(f"http://127.0.0.1:{port}/health", timeout=10).json()
        return told

    def close(self) -> None:
        self.rig.close()
        self.manager.close()


def log_of(watched: Watched) -> str:
    return (watched.rig.folder / "daemon.log").read_text()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    built = Watched(tmp_path, monkeypatch)
    try:
        yield built
    finally:
        built.close()


def test_reloads_leave_a_test_alone_or_end_it_properly(watched: Watched) -> None:
    manager, rig = watched.manager, watched.rig
    rig.policy["experiment"]["slot_s"] = 10.0  # so that the test outlasts what is done to it
    daemon = watched.start()
    manager.wait_for(lambda told: told.get("READY") == "1")
    assert watched.health()["seconds_since_cycle"].keys() == {"t"}  # ready: it listens
    manager.wait_for(lambda told: told.get("WATCHDOG") == "1" and told["STATUS"].startswith("t: "))
    history = rig.history()
    until(lambda: bool(history.open_experiments("t")))
    [running] = history.open_experiments("t")

    # A mistake: the old configuration runs on, and says why the new one does not.
    watched.write({**watched.config, "cycel_s": 1})
    assert "cycel_s: unknown key" in watched.reload(daemon)
    assert watched.health()["reload"]["ok"] is False

    # Another target comes: the running test does not notice.
    other = {"name": "other", "url": "http://127.0.0.1:9", "mode": "paused"}
    both = {**watched.config, "targets": [*watched.config["targets"], other]}
    watched.write({**both, "keep_days": 100, "listen": {"port": 1}})
    said = watched.reload(daemon)
    assert "targets added: other" in said
    assert "needs a restart: listen.port" in said
    until(lambda: watched.health()["seconds_since_cycle"].get("other") is not None)
    until(lambda: history.status("other").heartbeat is not None)
    assert [one.id for one in history.open_experiments("t")] == [running.id]

    # Its own policy changes: the test ends, and the incumbent is live before the daemon goes on.
    watched.write_policy({**rig.policy, "slo": {"ttft_s": 0.25}})
    watched.write(both)
    assert watched.reload(daemon) == "configuration reloaded: changed: t; taken over: keep_days"
    ended = history.experiment(running.id)
    assert ended is not None
    assert ended.conclusion is not None
    assert ended.conclusion.verdict is Verdict.ABORTED
    assert "its configuration was changed" in ended.conclusion.reason
    assert rig.live()["max_num_seqs"] == running.control["max_num_seqs"]
    until(lambda: watched.health()["seconds_since_cycle"]["t"] < 5)

    daemon.send_signal(signal.SIGTERM)
    manager.wait_for(lambda told: told.get("STOPPING") == "1")
    assert daemon.wait(timeout=120) == 0
    assert rig.live()["max_num_seqs"] == running.control["max_num_seqs"]
    expect_good_lines(rig.folder / "daemon.log")


def expect_good_lines(path: Path) -> None:
    """Every line is JSON with time, level and event; those of a cycle name their target."""
    lines = [yaml.safe_load(line) for line in path.read_text().splitlines()]
    assert all({"timestamp", "level", "event"} <= line.keys() for line in lines)
    cycles = [line for line in lines if line["event"] == "cycle"]
    assert cycles
    assert all(line["target"] in ("t", "other") for line in cycles)


def test_a_target_that_hangs_does_not_keep_the_daemon_from_ending(watched: Watched) -> None:
    """What can't be put back then is put back at the next start."""
    rig = watched.rig
    rig.policy["experiment"]["slot_s"] = 10.0
    daemon = watched.start()
    watched.manager.wait_for(lambda told: told.get("READY") == "1")
    history = rig.history()
    until(lambda: bool(history.open_experiments("t")))
    [running] = history.open_experiments("t")
    worker = rig.children[0]
    worker.send_signal(signal.SIGSTOP)  # it takes connections, and answers none
    try:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=120) == 0
    finally:
        worker.send_signal(signal.SIGCONT)
    assert history.open_experiments("t") == []
    successor = watched.run()
    watched.manager.wait_for(lambda told: told.get("READY") == "1")
    until(lambda: rig.live()["max_num_seqs"] == running.control["max_num_seqs"])
    until(lambda: history.unfinished_decisions("t") == [])
    successor.send_signal(signal.SIGTERM)
    assert successor.wait(timeout=120) == 0


def test_an_address_in_use_ends_the_start_with_the_fix(watched: Watched) -> None:
    with_port = free_port()
    daemon = watched.start(listen={"port": with_port})
    watched.manager.wait_for(lambda told: told.get("READY") == "1")
    watched.config |= {"history": f"sqlite:///{watched.rig.folder}/another.sqlite3"}
    watched.write(watched.config)
    second = watched.run()
    assert second.wait(timeout=60) == 2
    [told] = [line for line in log_of(watched).splitlines() if line.startswith("error: ")]
    assert str(with_port) in told
    assert "can't listen there" in told
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=120) == 0
