"""Copies made while a daemon writes, and histories made of them on either database."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import Experiment, Verdict
from autotuner.history.backup import backup, restore
from autotuner.history.store import History, open_history

START = 1_764_000_000.0


@contextmanager
def writer(history: History) -> Iterator[list[int]]:
    """Decisions and samples, written until the block ends; yields the ids as they come."""
    written: list[int] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            at = START + len(written)
            history.append_samples("chat", [("rate", at, 1.0)])
            written.append(history.record_decision("chat", "HOLD", f"{at}", at=at))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(written) < 20:
            over.wait(0.01)
        yield written
    finally:
        over.set()
        thread.join()


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'live.sqlite3'}"


@pytest.fixture
def live(file_url: str, build: Callable[..., Experiment]) -> Iterator[History]:
    made = open_history(file_url)
    made.record_target("chat", kind="worker", url="u", at=START, info={"generation": 3})
    made.record_experiment(build("exp-1", verdict=Verdict.ACCEPTED))
    made.set_incumbent("chat", build("x").treatment, at=START, why="won", experiment_id="exp-1")
    yield made
    made.close()


def test_a_copy_under_a_writer_is_whole_and_becomes_a_history(
    live: History, file_url: str, empty_url: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite3"
    with writer(live) as written:
        before = len(written)
        assert backup(file_url, copy) == copy.stat().st_size
        after = len(written)
    assert restore(copy, empty_url) == []
    back = open_history(empty_url)
    try:
        kept = [one.id for one in back.decisions("chat", limit=100_000)][::-1]
        assert kept == written[: len(kept)]
        assert before <= len(kept) <= after + 1
        assert len(back.samples("chat", "rate", since=0)) in (len(kept), len(kept) + 1)
        assert repr(back.experiment("exp-1")) == repr(live.experiment("exp-1"))  # NaN is in it
        assert back.incumbent("chat") == live.incumbent("chat")
        assert back.target_info("chat") == {"generation": 3}
        # It is written on, with ids that go on from where they were.
        assert back.record_decision("chat", "HOLD", "again", at=START) > kept[-1]
    finally:
        back.close()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("copy.sqlite3-")]


def test_a_copy_of_an_older_version_is_upgraded(tmp_path: Path) -> None:
    stored = Path(__file__).parents[2] / "migrations" / "stored" / "0002.sql"
    old = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(stored.read_text(encoding="utf-8"))
    content = old.read_bytes()
    url = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    assert restore(old, url)[0] == "0003"
    assert old.read_bytes() == content
    back = open_history(url, migrate=False)
    assert back.experiment("exp-1") is not None
    back.close()


def test_what_is_there_is_never_written_over(
    live: History, file_url: str, history: History, url: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite3"
    backup(file_url, copy)
    with pytest.raises(HistoryError, match="is there already"):
        backup(file_url, copy)
    assert backup(file_url, copy, force=True) > 0
    with pytest.raises(HistoryError, match="holds a history already"):
        restore(copy, url)
    assert history.experiment("exp-1") is None


def test_what_is_no_whole_history_is_refused(file_url: str, live: History, tmp_path: Path) -> None:
    new = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    text, other, copy = tmp_path / "a.txt", tmp_path / "other.db", tmp_path / "copy.sqlite3"
    text.write_text("no database, though long enough to be taken for one " * 20)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    backup(file_url, copy)
    newer, cut = tmp_path / "newer.sqlite3", tmp_path / "cut.sqlite3"
    newer.write_bytes(copy.read_bytes())
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    cut.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    for file, word in (
        (tmp_path / "none", "no such file"),
        (text, "no whole SQLite database"),
        (other, "no history of autotuner"),
        (newer, r"'9999'.*newer version"),
        (cut, "damaged|no whole"),
    ):
        with pytest.raises(HistoryError, match=word):
            restore(file, new)
    assert not (tmp_path / "new.sqlite3").exists()


def test_postgresql_is_left_to_its_own_tools(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"pg_dump --format=custom .*ana@db/tuner") as told:
        backup("postgresql://ana:secret@db/tuner", tmp_path / "x.dump")
    assert "secret" not in str(told.value)
