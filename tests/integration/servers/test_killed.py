"""`kill -9` of the proxy and of the daemon, each in the middle of a restart of the server."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests
import yaml

from autotuner.domain.experiment import Verdict
from autotuner.history.records import Ask
from autotuner.history.store import History, open_history
from tests.integration.servers.conftest import RATE_RPS, SLOWER, TOKENS, Made, policy
from tests.integration.servers.front import Front, until
from tests.integration.servers.traffic import traffic

pytestmark = pytest.mark.process

RESTART_S = 2.0  # so long does the server take to start: there is a middle to be killed in


def changing(front: Front) -> bool:
    return front.body()["rebuilding"] is not None


@pytest.mark.parametrize("mode", ["blue_green", "in_place"])
def test_the_proxy_is_killed_in_the_middle_of_a_restart_and_started_again(
    fronts: Made, mode: str
) -> None:
    [front] = fronts("vllm", mode, max_num_seqs=32)
    front.scene(slower=SLOWER, start_s=RESTART_S)

    def put() -> None:
        with suppress(requests.RequestException):
            front.put(max_num_seqs=64)

    asking = threading.Thread(target=put)
    asking.start()
    until(lambda: changing(front), front.told)
    boot = front.body()["boot_id"]
    front.kill()
    asking.join()
    front.start()
    front.wait_serving()
    body = front.body()
    assert body["boot_id"] != boot
    assert body["rebuilding"] is None
    assert body["settings"]["max_num_seqs"] == 32, "the change was not done: it is not in force"
    answer = requests.post(
        f"{front.url}/v1/completions", json={"prompt": "a", "max_tokens": 2}, timeout=30
    )
    assert answer.status_code == 200
    front.wait_single()


class DaemonProcess:
    """`autotuner run` over one target."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.history_url = f"sqlite:///{folder / 'history.sqlite3'}"
        told = policy("max_num_seqs", [2, 32, 64])
        (folder / "policy.yaml").write_text(yaml.safe_dump(told))
        config = {
            "history": self.history_url,
            "targets": [{"name": "t", "url": url, "policy": str(folder / "policy.yaml")}],
            "cycle_s": 0.2,
            "listen": {"port": 0},
        }
        (folder / "autotuner.yaml").write_text(yaml.safe_dump(config))
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        path = str(self.folder / "autotuner.yaml")
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "autotuner", "run", "--config", path],
                stdout=log,
                stderr=log,
            )
        return self.process

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def history(self) -> History:
        return open_history(self.history_url)

    def told(self) -> str:
        return (self.folder / "daemon.log").read_text()[-4000:]


def test_the_daemon_is_killed_while_its_candidate_is_being_started(
    fronts: Made, tmp_path: Path
) -> None:
    [front] = fronts("vllm", "blue_green", max_num_seqs=32)
    daemon = DaemonProcess(front.url, tmp_path)
    try:
        history = daemon.history()
        with traffic([front.url], RATE_RPS, TOKENS) as seen:
            until(lambda: history.incumbent("t") is not None, daemon.told)
            front.scene(slower=SLOWER, start_s=RESTART_S)
            payload = {"changes": {"max_num_seqs": 64}, "plan": {}}
            history.ask("t", Ask.EXPERIMENT, "ada", time.time(), payload=payload)
            until(lambda: changing(front), daemon.told)
            daemon.kill()
            front.scene(slower=SLOWER)
            daemon.start()
            until(lambda: not history.open_experiments("t"), daemon.told)
            until(lambda: history.unfinished_decisions("t") == [], daemon.told)
            until(lambda: not changing(front) and front.runs() == 32, daemon.told)
        assert seen.lost == []
        [test] = history.experiments(target="t")
        assert test.verdict is Verdict.ABORTED
    finally:
        daemon.kill()
