"""The history goes away in the middle of a test, and comes back: real daemon, real databases."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autotuner.history.store import History
from tests.integration.daemon.databases import (
    BINARIES,
    LockedSqlite,
    Removable,
    StoppedPostgresql,
)
from tests.integration.daemon.processes import Rig, until

pytestmark = pytest.mark.process
AWAY_S = 13.0  # longer than the alert waits


@dataclass
class RigOn(Rig):
    """The rig of the kill tests on a database of its own."""

    database: Removable = field(kw_only=True)

    @property
    def history_url(self) -> str:
        return self.database.url

    def held(self) -> int:
        """Cycles that could record nothing, by the daemon's own log."""
        log = (self.folder / "daemon.log").read_text(encoding="utf-8")
        return log.count("; nothing is done that can")  # the log may quote what follows


class Hook:
    """Remembers (name, status) of every alert that is posted."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.heard.append((body["commonLabels"]["alertname"], body["status"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def rig(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RigOn]:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # the daemon's log is read while it runs
    if request.param == "postgresql" and not (BINARIES / "initdb").exists():
        pytest.skip(f"no PostgreSQL 15 binaries in {BINARIES}")
    database: Removable = (
        LockedSqlite(tmp_path / "history.sqlite3")
        if request.param == "sqlite"
        else StoppedPostgresql()
    )
    built = RigOn(tmp_path, receiver=hook.url, database=database)
    # Many pairs: the test must not end by itself while its history is away.
    built.policy["experiment"]["max_pairs"] = 100
    try:
        yield built
    finally:
        built.close()
        database.close()


def slots(history: History) -> int:
    [test] = history.open_experiments("t")
    return len(test.slots)


def test_a_history_that_goes_away_and_comes_back(rig: RigOn, hook: Hook) -> None:
    rig.start_worker()
    rig.start_load()
    daemon = rig.start_daemon()
    history = rig.history()
    until(lambda: bool(history.open_experiments("t")) and slots(history) >= 2)
    [test] = history.open_experiments("t")

    left = time.time()
    rig.database.take_away()
    until(lambda: rig.held() >= 1)
    ran = rig.live()
    until(lambda: ("HistoryUnavailable", "firing") in hook.heard)
    until(lambda: time.time() - left >= AWAY_S)
    assert daemon.poll() is None
    assert rig.live() == ran, "nothing is applied that can't be recorded"
    assert rig.held() >= 5
    rig.database.give_back()
    back = time.time()

    until(lambda: ("HistoryUnavailable", "resolved") in hook.heard)
    until(lambda: slots(history) >= len(test.slots) + 2)
    [same] = history.open_experiments("t")
    assert same.id == test.id
    began = [(slot.arm, slot.generation, slot.started_at) for slot in test.slots]
    assert [(s.arm, s.generation, s.started_at) for s in same.slots][: len(began)] == began
    held = [one for one in history.decisions("t") if "can't be recorded" in one.reason]
    # Once for each way of being away: a server that stops is told apart from one that is gone.
    assert {one.action for one in held} == {"HOLD"}
    assert len(held) <= 4
    assert all(left - 1 <= one.decided_at <= back + 1 for one in held)
    assert history.unfinished_decisions("t") == []
    told = [a for a in history.alerts("t", since=left) if a.name == "HistoryUnavailable"]
    assert [a.firing for a in told] == [False]
    assert left <= told[0].starts_at <= back
    assert daemon.poll() is None
    history.close()


def test_a_daemon_that_is_stopped_without_its_history_leaves_the_test_to_the_next(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    database = LockedSqlite(tmp_path / "history.sqlite3")
    rig = RigOn(tmp_path, receiver=hook.url, database=database)
    try:
        rig.start_worker()
        rig.start_load()
        daemon = rig.start_daemon()
        history = rig.history()
        until(lambda: bool(history.open_experiments("t")) and slots(history) >= 2)
        database.take_away()
        until(lambda: rig.held() >= 1)
        daemon.terminate()
        assert daemon.wait(timeout=60) == 0
        database.give_back()
        [left] = history.open_experiments("t")
        rig.start_daemon()
        until(lambda: not any(t.id == left.id for t in history.open_experiments("t")))
        until(lambda: rig.live()["max_num_seqs"] == left.control["max_num_seqs"])
        history.close()
    finally:
        rig.close()
        database.close()
