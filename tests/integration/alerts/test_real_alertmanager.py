"""A real Alertmanager takes our alerts, and its own alerts pause and let go of tuning."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client import CollectorRegistry

from autotuner.alerts.alertmanager import PATH, AlertmanagerSender, Repeats
from autotuner.alerts.payload import webhook_payload
from autotuner.alerts.posting import Mailbox
from autotuner.domain.forecasts import Alert
from autotuner.domain.mode import Mode
from autotuner.hearing import AlertsIn
from autotuner.history.store import open_history
from autotuner.web import alerts_in
from autotuner.web.app import WebServer, create_app
from tests.integration.alerts.receiver import Receiver, free_port
from tests.integration.daemon.processes import until

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(BINARY is None, reason="no Alertmanager: apt-get install its package"),
]


class Manager:
    """An Alertmanager that tells one webhook, of each alert by itself and at once."""

    def __init__(self, folder: Path, hook: dict[str, Any]) -> None:
        told = {"name": "hook", "webhook_configs": [{**hook, "send_resolved": True}]}
        route = {
            "receiver": "hook",
            "group_by": ["..."],
            "group_wait": "100ms",
            "group_interval": "300ms",
        }
        config = folder / "alertmanager.yml"
        # Left to itself it would hold an alert for an hour: what ends sooner ends by our word.
        timeout = {"resolve_timeout": "1h"}
        config.write_text(yaml.safe_dump({"global": timeout, "route": route, "receivers": [told]}))
        self.port = free_port()
        assert BINARY is not None
        words = [
            BINARY,
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        with (folder / "alertmanager.log").open("wb") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)
        until(lambda: requests.get(f"{self.url}/-/ready", timeout=5).ok, within_s=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sender(self, repeat_s: float = 60.0) -> AlertmanagerSender:
        return AlertmanagerSender(Mailbox(self.url + PATH), repeat_s=repeat_s)

    def active(self) -> list[str]:
        rows = requests.get(self.url + PATH, params={"active": "true"}, timeout=5).json()
        return [row["labels"]["alertname"] for row in rows]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def manager(tmp_path: Path, receiver: Receiver) -> Iterator[Manager]:
    made = Manager(tmp_path, {"url": receiver.url})
    yield made
    made.close()


def alert(name: str) -> Alert:
    return Alert(name, name, "warning", "chat", "odd", time.time() - 1.0)


def told(receiver: Receiver, name: str) -> list[str]:
    bodies = [json.loads(body) for body in receiver.bodies]
    return [body["status"] for body in bodies if body["commonLabels"]["alertname"] == name]


def test_what_fires_and_ends_is_told_on(manager: Manager, receiver: Receiver) -> None:
    one, sender = alert("TtftHigh"), manager.sender()
    sender.send(webhook_payload([one], "am"))
    until(lambda: told(receiver, "TtftHigh") == ["firing"], within_s=60)
    assert manager.active() == ["TtftHigh"]
    sender.send(webhook_payload([replace(one, ends_at=time.time())], "am"))
    until(lambda: told(receiver, "TtftHigh")[-1] == "resolved", within_s=60)
    assert manager.active() == []


def test_it_stays_up_while_it_is_repeated_and_ends_when_nobody_speaks(
    manager: Manager, receiver: Receiver
) -> None:
    one, lasts_s = alert("KvFull"), 8.0
    repeats = Repeats("am", lambda: [one], manager.sender(lasts_s / 4), repeat_s=0.5)
    end = time.monotonic() + 1.25 * lasts_s
    while time.monotonic() < end:
        assert repeats.run(time.time()) is None
        time.sleep(0.05)
    assert told(receiver, "KvFull")[-1:] == ["firing"]
    assert manager.active() == ["KvFull"]
    until(lambda: told(receiver, "KvFull")[-1] == "resolved", within_s=60)


def test_its_alerts_pause_tuning_and_let_it_go_on(tmp_path: Path) -> None:
    history = open_history(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    history.record_target("chat", kind="worker", url="u", at=1.0)
    (tmp_path / "token").write_text("t0ken\n")
    router = alerts_in.alerts_in_router(AlertsIn(history, {"chat": Mode.ACTIVE}).take, "t0ken")
    port = free_port()
    server = WebServer(
        create_app(CollectorRegistry(), lambda: (True, {}), [router]), "127.0.0.1", port
    )
    server.start()
    hook = {
        "url": f"http://127.0.0.1:{port}{alerts_in.PATH}",
        "http_config": {"authorization": {"credentials_file": str(tmp_path / "token")}},
    }
    manager = Manager(tmp_path, hook)
    drain = replace(alert("NodeDrain"), labels=(("autotuner", "pause"),))
    try:
        manager.sender().send(webhook_payload([drain], "am"))
        until(lambda: history.asked_mode("chat") is Mode.PAUSED, within_s=60)
        ended = replace(drain, ends_at=time.time())
        manager.sender().send(webhook_payload([ended], "am"))
        until(lambda: history.asked_mode("chat") is Mode.ACTIVE, within_s=60)
        said = [(one.what.value, one.who, one.note) for one in history.asked_modes("chat")]
    finally:
        manager.close()
        server.stop()
        history.close()
    assert said == [
        ("resume", "alertmanager", "NodeDrain is resolved and lets tuning go on"),
        ("pause", "alertmanager", "NodeDrain pauses tuning"),
    ]
