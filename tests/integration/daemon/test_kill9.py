"""`kill -9` of the daemon in each phase of a test, and of the worker under it."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autotuner.domain.experiment import Arm, Experiment, Phase, Verdict
from autotuner.history.store import History
from tests.integration.daemon.processes import Rig, kill, kill_in_test, until

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


def started(rig: Rig) -> tuple[subprocess.Popen[str], History]:
    daemon = rig.start_daemon()
    until(lambda: (rig.folder / "history.sqlite3").exists())
    return daemon, rig.history()


def expect_no_row_fewer(rig: Rig, before: dict[str, int]) -> None:
    after = row_counts(rig.folder / "history.sqlite3")
    assert all(after[name] >= count for name, count in before.items())


def expect_recovery(rig: Rig, history: History, killed: Experiment) -> None:
    """A successor closes the test as aborted, puts the incumbent back, and loses no row."""
    before = row_counts(rig.folder / "history.sqlite3")
    successor = rig.start_daemon()
    until(lambda: killed.id not in [test.id for test in history.open_experiments("t")])
    until(lambda: rig.live()["max_num_seqs"] == killed.control["max_num_seqs"])
    closed = history.experiment(killed.id)
    assert closed is not None
    assert closed.conclusion is not None
    assert closed.conclusion.verdict is Verdict.ABORTED
    assert "daemon ended" in closed.conclusion.reason
    expect_no_row_fewer(rig, before)
    successor.send_signal(signal.SIGTERM)
    assert successor.wait(timeout=30) == 0
    assert rig.live()["max_num_seqs"] == killed.control["max_num_seqs"]
    incumbent = history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings == killed.control
    assert history.unfinished_decisions("t") == []


def test_every_phase_has_its_kill_test() -> None:
    """A new phase must not go untested: add its test below, then its name here."""
    held_by_the_gate = {Phase.PLANNED, Phase.CLOSED}
    assert set(Phase) == held_by_the_gate | {Phase.WASHOUT, Phase.COUNTING, Phase.DRAINING}


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_daemon_killed_before_the_first_slot_is_known(rig: Rig, after_effect: bool) -> None:
    """PLANNED: the start is recorded; its apply is under way, or done with nobody to note it."""
    rig.start_worker()
    rig.start_load()
    gate = rig.raise_gate("testing", after_effect)
    daemon, history = started(rig)
    assert gate.held.wait(120)
    kill(daemon)
    [killed] = history.open_experiments("t")
    assert killed.phase is Phase.PLANNED
    assert killed.slots == ()
    expect_recovery(rig, history, killed)


@pytest.mark.parametrize("phase", [Phase.WASHOUT, Phase.COUNTING])
@pytest.mark.parametrize("pairs", [0, 1])
def test_daemon_killed_in_a_slot(rig: Rig, phase: Phase, pairs: int) -> None:
    rig.start_worker()
    rig.start_load()
    daemon, history = started(rig)
    killed = kill_in_test(
        daemon, history, lambda test: test.phase is phase and len(test.pairs) >= pairs
    )
    expect_recovery(rig, history, killed)


def test_daemon_killed_while_the_last_requests_drain(rig: Rig) -> None:
    """DRAINING: every slot is over, requests of the last one are in flight.

    No request can meet this SLO, so the pairs say nothing and the test goes on to its last slot.
    """
    rig.step_s, rig.first_seqs = 0.02, 32
    rig.policy["slo"] = {"ttft_s": 1e-4}
    rig.policy["knobs"] = {"max_num_seqs": {"levels": [32, 64]}}
    rig.policy["experiment"] = {
        "slot_s": 0.8, "washout_min_s": 0.1, "washout_max_s": 0.5, "cooldown_s": 0.1,
        "max_pairs": 7, "min_requests_per_slot": 1, "prior_sd": 0.02, "tail_factor": 1e6,
        "futility": None,
    }  # fmt: skip
    rig.start_worker()
    rig.start_load(arrivals="constant")
    daemon, history = started(rig)
    killed = kill_in_test(daemon, history, lambda test: test.phase is Phase.DRAINING)
    assert killed.phase is Phase.DRAINING
    assert len(killed.slots) == 14
    assert killed.slots[-1].outcome is None
    expect_recovery(rig, history, killed)


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_daemon_killed_between_a_verdict_and_its_settings(rig: Rig, after_effect: bool) -> None:
    """CLOSED: the test is over on paper, the treatment still runs."""
    rig.policy["experiment"]["slot_s"] = 8.0  # so that the treatment's slot outlasts the wish
    rig.start_worker()
    rig.start_load()
    gate = rig.raise_gate("ABORTED", after_effect)
    daemon, history = started(rig)

    def treatment_runs() -> bool:
        tests = history.open_experiments("t")
        slot = tests[-1].current_slot if tests else None
        return slot is not None and slot.arm is Arm.TREATMENT

    until(treatment_runs)
    history.ask("t", "rollback", "ada", time.time())
    assert gate.held.wait(120)
    kill(daemon)
    assert history.open_experiments("t") == []
    [killed] = history.experiments(target="t")
    assert killed.phase is Phase.CLOSED
    left_live = killed.control if after_effect else killed.treatment
    assert rig.live()["max_num_seqs"] == left_live["max_num_seqs"]
    before = row_counts(rig.folder / "history.sqlite3")
    rig.start_daemon()
    until(lambda: history.unfinished_decisions("t") == [])
    until(lambda: rig.live()["max_num_seqs"] == killed.control["max_num_seqs"])
    kept = history.experiment(killed.id)
    assert kept is not None
    assert kept.conclusion is not None
    assert kept.conclusion.verdict is Verdict.ABORTED
    assert "a person asked for a rollback" in kept.conclusion.reason
    expect_no_row_fewer(rig, before)


def test_daemon_killed_between_acceptance_and_promotion(rig: Rig) -> None:
    """CLOSED, and accepted: what was proven is live after the next start."""
    rig.start_worker()
    rig.start_load()
    gate = rig.raise_gate("ACCEPTED", after_effect=False)
    daemon, history = started(rig)
    assert gate.held.wait(240)
    kill(daemon)
    rig.start_daemon()
    until(lambda: history.unfinished_decisions("t") == [])
    until(lambda: rig.live()["max_num_seqs"] == 32)
    [accepted] = history.accepted_changes("t")
    incumbent = history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings == accepted.treatment


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
    assert accepted.low >= 0  # 0 itself is refuted; a pair without a difference lies on the bound


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
