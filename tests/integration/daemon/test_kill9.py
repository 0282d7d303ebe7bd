"""`kill -9` of the daemon in each phase of a test, and of the worker under it."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autotuner.domain.experiment import Phase, Verdict
from tests.integration.daemon.processes import Rig, until

pytestmark = pytest.mark.process


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    built = Rig(tmp_path)
    try:
        yield built
    finally:
        built.close()


def row_counts(path: Path) -> dict[str, int]:
    """Rows by table, as the command-line client of SQLite sees them."""

    def ask(query: str) -> list[str]:
        done = subprocess.run(
            ["sqlite3", "-readonly", str(path), query], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    tables = ("decisions", "experiments", "slots", "pairs", "looks", "incumbents")
    return {name: int(ask(f"SELECT count(*) FROM {name}")[0]) for name in tables}


@pytest.mark.parametrize("phase", [Phase.WASHOUT, Phase.COUNTING])
@pytest.mark.parametrize("pairs", [0, 1])
def test_daemon_killed_in_a_slot(rig: Rig, phase: Phase, pairs: int) -> None:
    rig.start_worker()
    rig.start_load()
    daemon = rig.start_daemon()
    until(lambda: (rig.folder / "history.sqlite3").exists())
    history = rig.history()

    def reached() -> bool:
        tests = history.open_experiments("t")
        return bool(tests) and tests[-1].phase is phase and len(tests[-1].pairs) >= pairs

    until(reached)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    [killed] = history.open_experiments("t")
    before = row_counts(rig.folder / "history.sqlite3")
    successor = rig.start_daemon()
    until(lambda: not history.open_experiments("t") or history.experiment(killed.id) != killed)
    until(lambda: rig.live()["max_num_seqs"] == killed.control["max_num_seqs"])
    closed = history.experiment(killed.id)
    assert closed is not None
    assert closed.conclusion is not None
    assert closed.conclusion.verdict is Verdict.ABORTED
    assert "daemon ended" in closed.conclusion.reason
    after = row_counts(rig.folder / "history.sqlite3")
    assert all(after[name] >= count for name, count in before.items())
    successor.send_signal(signal.SIGTERM)
    assert successor.wait(timeout=30) == 0
    assert rig.live()["max_num_seqs"] == killed.control["max_num_seqs"]


def test_the_loop_over_real_processes_ends_with_the_better_settings(rig: Rig) -> None:
    rig.start_worker()
    rig.start_load()
    rig.start_daemon()
    until(lambda: (rig.folder / "history.sqlite3").exists())
    history = rig.history()
    until(lambda: bool(history.accepted_changes("t")), within_s=240)
    until(lambda: rig.live()["max_num_seqs"] == 32)
    [accepted] = history.accepted_changes("t")
    assert accepted.confidence >= 0.95
    assert accepted.low > 0


def test_worker_killed_hold_alert_recovery(rig: Rig, receiver: Receiver) -> None:
    rig.receiver = receiver.url
    worker = rig.start_worker()
    rig.start_load()
    rig.start_daemon()
    until(lambda: (rig.folder / "history.sqlite3").exists())
    history = rig.history()
    until(lambda: bool(history.open_experiments("t")))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    until(lambda: "TargetDown" in receiver.firing())
    assert history.decisions("t", limit=1)[0].action in ("HOLD", "ROLLBACK")
    rig.start_worker()
    until(lambda: "TargetRestarted" in receiver.firing())
    until(
        lambda: (beat := history.status("t").heartbeat) is not None and "can't" not in beat.sentence
    )


class Receiver:
    """Takes webhooks and remembers which alerts fired."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer.bodies.append(json.loads(self.rfile.read(length)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"

    def firing(self) -> set[str]:
        names = set()
        for body in self.bodies:
            labels = body["commonLabels"]
            if body["status"] == "firing" and isinstance(labels, dict):
                names.add(str(labels["alertname"]))
        return names


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()
