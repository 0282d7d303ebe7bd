"""The real daemon, killed after a receiver took an alert and before that was recorded."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autotuner.alerts.payload import webhook_payload
from autotuner.domain.forecasts import Alert
from autotuner.history.records import OutboxMessage
from autotuner.history.store import History, open_history
from tests.integration.alerts.receiver import Receiver, free_port

pytestmark = pytest.mark.process

KILLED_AT = (1, 3)  # the requests at which the daemon dies, counted over all its lives
POLICY = {
    "name": "killed",
    "slo": {"ttft_s": 1.0},
    "knobs": {"max_num_seqs": {"levels": [1, 2]}},
    "proposer": {"kind": "hill-climb"},
}


class Rig:
    """A daemon whose target does not answer, a history with alerts to send, and a receiver."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.receiver = folder, Receiver()
        self.url = f"sqlite:///{folder / 'history.sqlite3'}"
        self.history: History = open_history(self.url)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.deaths, self._lock = 0, threading.Lock()
        self.receiver.before_answer = self._kill_in_time

    def configure(self) -> None:
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
        config = {
            "history": self.url,
            "targets": [
                {
                    "name": "t",
                    "url": f"http://127.0.0.1:{free_port()}",
                    "policy": str(self.folder / "policy.yaml"),
                }
            ],
            "cycle_s": 600,  # its own alerts have no part in this
            "listen": {"port": 0},
            "webhooks": [{"name": "hook", "url": self.receiver.url}],
        }
        (self.folder / "autotuner.yaml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        words = ["-m", "autotuner", "run", "--config", str(self.folder / "autotuner.yaml")]
        with (self.folder / "daemon.log").open("ab") as log:
            self.daemon = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)

    def _kill_in_time(self, _body: bytes) -> None:
        with self._lock:
            if len(self.receiver.bodies) in KILLED_AT and self.daemon is not None:
                self.daemon.send_signal(signal.SIGKILL)
                self.daemon.wait()
                self.deaths += 1

    def wait(self, holds: Callable[[], bool], within_s: float = 150.0) -> None:
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "daemon.log").read_text())

    def close(self) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGKILL)
            self.daemon.wait()
        self.history.close()
        self.receiver.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    built = Rig(tmp_path)
    yield built
    built.close()


def record(history: History, alert: Alert, at: float) -> None:
    status = "firing" if alert.firing else "resolved"
    payload = webhook_payload([alert], "hook")
    message = OutboxMessage("hook", alert.fingerprint, status, payload, alert.starts_at)
    history.record_alert(alert, at, [message])


def test_every_alert_arrives_though_the_daemon_dies_on_the_way(rig: Rig) -> None:
    start = time.time() - 60.0
    rig.history.record_target("t", kind="worker", url="u", at=start)
    alerts = [Alert(f"f{n}", f"Alert{n}", "warning", "t", "odd", start + n) for n in range(3)]
    for alert in alerts:
        record(rig.history, alert, start)
        record(rig.history, replace(alert, ends_at=start + 30.0), start + 30.0)
    rig.configure()
    for death in (1, 2):
        rig.start()
        rig.wait(lambda reached=death: rig.deaths == reached)  # type: ignore[misc]
        assert rig.history.status("t").undelivered > 0
    rig.start()
    rig.wait(lambda: rig.history.status("t").undelivered == 0)
    rows = [json.loads(body)["alerts"][0] for body in rig.receiver.bodies]
    got = [(row["fingerprint"], row["status"]) for row in rows]
    for alert in alerts:
        told = [status for fingerprint, status in got if fingerprint == alert.fingerprint]
        assert list(dict.fromkeys(told)) == ["firing", "resolved"]
        assert told == sorted(told)  # once it was told that it is over, it fires no more
    # What was taken but not recorded came twice; all else came once.
    assert len(got) == 2 * len(alerts) + len(KILLED_AT)
