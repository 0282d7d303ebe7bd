"""Writers in threads and processes, one of them killed: no committed row is lost."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.forecasts import Forecast
from autotuner.domain.knobs import Settings
from autotuner.history.engine import open_engine
from autotuner.history.store import History, open_history

Build = Callable[..., Experiment]
START = 1_764_000_000.0
SETTINGS = [Settings({"max_num_seqs": 2**n}) for n in range(6)]

WRITER = """
import sys
from autotuner.domain.knobs import Settings
from autotuner.history.store import open_history
url, name, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
history = open_history(url, migrate=False)
for n in range(rows):
    number = history.record_decision(
        "chat", "START", f"{name} {n}", at=float(n), settings=Settings({"max_num_seqs": n % 7}))
    history.append_samples("chat", [(name, float(n), 1.0)])
    print(number, n, flush=True)
"""


def writer(url: str, name: str, rows: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, name, str(rows)], stdout=subprocess.PIPE, text=True
    )


def test_threads_lose_nothing(history: History) -> None:
    def write(name: str) -> None:
        for n in range(15):
            # Opposite orders of the same settings, and of reading before writing.
            order = SETTINGS if name == "a" else SETTINGS[::-1]
            history.unfinished_decisions("chat")
            history.record_decision(
                "chat", "START", f"{name} {n}", at=n, settings=order[n % len(order)]
            )
            history.set_incumbent("chat", order[n % len(order)], at=n, why=name)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["a", "b"]))
    reasons = {d.reason for d in history.unfinished_decisions("chat")}
    assert reasons == {f"{name} {n}" for name in "ab" for n in range(15)}
    assert [i.until_at for i in history.incumbents("chat", limit=100)].count(None) == 1


def test_two_writers_of_one_experiment_agree(history: History, build: Build) -> None:
    def write(pairs: int) -> None:
        for _ in range(5):
            history.record_experiment(build("e1", pairs=pairs))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, [3, 3]))
    assert repr(history.experiment("e1")) == repr(build("e1", pairs=3))


def test_what_is_written_together_is_kept_together(history: History, build: Build) -> None:
    with history.together():
        history.record_experiment(build("e1"))
        history.record_decision("chat", "START", "go", at=1.0, experiment_id="e1")
        assert history.experiment("e1") is not None
    assert [d.reason for d in history.decisions("chat")] == ["go"]


def test_what_is_written_together_is_lost_together(history: History, build: Build) -> None:
    def fail() -> None:
        with history.together():
            history.record_experiment(build("e1"))
            with history.together():
                history.set_incumbent("chat", SETTINGS[0], at=1.0, why="won")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert history.experiment("e1") is None
    assert history.incumbent("chat") is None
    history.set_incumbent("chat", SETTINGS[1], at=2.0, why="the next one stands alone again")
    assert history.incumbent("chat") is not None


def test_a_refusal_undoes_what_was_written_together(history: History) -> None:
    def refused() -> None:
        with history.together():
            history.set_incumbent("chat", SETTINGS[0], at=1.0, why="won")
            history.record_decision("chat", "START", "go", at=1.0, experiment_id="unknown")

    with pytest.raises(HistoryError, match="must be recorded before"):
        refused()
    assert history.incumbent("chat") is None


def test_other_threads_take_no_part_in_it(history: History) -> None:
    with ThreadPoolExecutor(1) as pool, history.together():
        history.set_incumbent("chat", SETTINGS[0], at=1.0, why="not committed yet")
        assert pool.submit(history.incumbent, "chat").result() is None


@pytest.mark.process
def test_processes_lose_nothing(history: History, url: str) -> None:
    writers = [writer(url, name, 20) for name in "ab"]
    for process in writers:
        process.communicate(timeout=120)
    assert [process.returncode for process in writers] == [0, 0]
    reasons = {d.reason for d in history.unfinished_decisions("chat")}
    assert reasons == {f"{name} {n}" for name in "ab" for n in range(20)}
    assert all(len(history.samples("chat", name, since=0)) == 20 for name in "ab")


@pytest.mark.process
def test_a_killed_writer_leaves_every_committed_row(history: History, url: str) -> None:
    with writer(url, "killed", 1_000_000) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(30)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
        assert process.wait(60) == -signal.SIGKILL

    committed = [int(line.split()[1]) for line in told if line.endswith("\n")]
    reasons = {d.reason for d in history.unfinished_decisions("chat")}
    assert len(committed) >= 30
    assert {f"killed {n}" for n in committed} <= reasons
    assert len(reasons) <= len(committed) + 1
    stored = {sample.at for sample in history.samples("chat", "killed", since=0)}
    assert set(committed) <= {int(at) for at in stored}
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # The next writer is not held up by what the dead one left.
    history.record_decision("chat", "HOLD", "still here", at=1.0)


def test_two_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite3'}"

    def opened(_: int) -> list[str]:
        history = open_history(url)
        try:
            return history.targets()
        finally:
            history.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [[], [], [], []]


def test_pruning_forgets_only_what_may_be_forgotten(history: History, build: Build) -> None:
    history.record_experiment(build("e1", at=1.0, verdict=Verdict.ACCEPTED))
    history.set_incumbent("chat", SETTINGS[0], at=1.0, why="first")
    history.record_decision("chat", "HOLD", "idle", at=1.0)
    history.record_decision("chat", "HOLD", "idle", at=100.0)
    pending = history.record_decision("chat", "START", "go", at=1.0, settings=SETTINGS[1])
    history.append_samples("chat", [("rate_rps", at, 1.0) for at in (1.0, 2.0, 100.0)])
    history.ask("chat", "pause", "ana", 1.0)
    history.heartbeat("gone", "chat", at=1.0, sentence="bye", mode="active")

    deleted = history.prune(older_than=50.0)

    assert {name: n for name, n in deleted.items() if n} == {
        "decisions": 1,
        "samples": 2,
        "heartbeats": 1,
    }
    assert [d.id for d in history.unfinished_decisions("chat")] == [pending]
    assert history.experiment("e1") is not None
    assert history.incumbent("chat") is not None
    assert history.prune(older_than=50.0) == dict.fromkeys(deleted, 0)


def test_pruning_keeps_the_latest_forecast_and_the_mode(history: History) -> None:
    for made_at in (1.0, 2.0):
        history.record_forecast("chat", Forecast("rate_rps", made_at, "seasonal", ()))
    history.ask("chat", "pause", "ana", 1.0)
    history.take_controls("chat", 2.0)
    history.prune(older_than=50.0)
    latest = history.latest_forecast("chat", "rate_rps")
    assert latest is not None
    assert latest.made_at == 2.0
    assert history.asked_mode("chat") == "paused"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing/history.sqlite3", "there is no folder .*missing: create it"),
        ("folder", "is a folder: give a file in it"),
        ("text/history.sqlite3", "there is no folder"),
        ("text", "not a database"),
    ],
)
def test_an_unusable_path_is_told(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("this is a letter, not a database " * 40)
    with pytest.raises(HistoryError, match=message):
        open_engine(f"sqlite:///{tmp_path / path}")


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"can't be opened: .*") as caught:
        open_engine(f"postgresql://ana:secret@/history?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_a_database_without_tables_is_told(empty_url: str) -> None:
    bare = History(open_engine(empty_url))
    with pytest.raises(HistoryError, match="can't be used"):
        bare.targets()
    bare.close()
    with pytest.raises(HistoryError, match="upgrade it first"):
        open_history(empty_url, migrate=False)
