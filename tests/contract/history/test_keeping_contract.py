"""What is dropped, what becomes coarser, and that the file gets smaller."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert

from autotuner.domain.knobs import Settings
from autotuner.history.compaction import Keeping, shrink, size_bytes
from autotuner.history.engine import Database, open_engine
from autotuner.history.pruning import everything, prune, thin
from autotuner.history.store import History
from autotuner.history.tables import samples

HOUR = 3600.0
DAY = 24 * HOUR
NOW = 1_764_000_000.0 // HOUR * HOUR


def five_minutes(hours: int, until: float = NOW) -> list[tuple[float, float]]:
    """Rows of (time, value), the value being how many minutes of its hour have passed."""
    start = until - hours * HOUR
    return [(start + 300.0 * i, 5.0 * (i % 12)) for i in range(12 * hours)]


def append(history: History, rows: list[tuple[float, float]], series: str = "rate") -> None:
    history.append_samples("chat", [(series, at, value) for at, value in rows])


def test_old_series_become_hourly_means(history: History) -> None:
    rows = five_minutes(6)
    append(history, rows)
    append(history, rows[:5], "other")
    gone = history.keep(Keeping({}, thin_before=NOW - 2 * HOUR))
    assert gone == {"samples": 4 * 11 + 4}
    kept = history.samples("chat", "rate", since=0)
    assert kept[:4] == [(NOW - (6 - i) * HOUR, 27.5) for i in range(4)]
    assert kept[4:] == rows[48:]
    assert history.samples("chat", "other", since=0) == [(NOW - 6 * HOUR, 10.0)]
    assert history.keep(Keeping({}, thin_before=NOW - 2 * HOUR)) == {"samples": 0}


def test_an_hour_that_is_not_over_stays_as_it_is(history: History) -> None:
    rows = five_minutes(1)
    append(history, rows)
    history.keep(Keeping({}, thin_before=NOW - 60))
    assert history.samples("chat", "rate", since=0) == rows


def test_thinning_goes_over_days_and_gaps_and_skips_what_has_no_figure(history: History) -> None:
    append(history, five_minutes(2, NOW - 9 * DAY))
    append(history, five_minutes(80, NOW))
    nan = float("nan")
    history.append_samples(
        "chat", [("idle", NOW - 600, nan), ("idle", NOW - 300, nan), ("some", NOW - 600, nan)]
    )
    history.append_samples("chat", [("some", NOW - 300, 3.0)])
    history.keep(Keeping({}, thin_before=NOW))
    kept = history.samples("chat", "rate", since=0)
    assert len(kept) == 82
    assert {sample.value for sample in kept} == {27.5}
    [idle] = history.samples("chat", "idle", since=0)
    assert (idle.at, idle.value != idle.value) == (NOW - HOUR, True)
    assert history.samples("chat", "some", since=0) == [(NOW - HOUR, 3.0)]


def test_each_kind_has_its_own_time(history: History) -> None:
    settings = Settings({"max_num_seqs": 8})
    append(history, [(NOW - 3 * DAY, 1.0), (NOW - DAY, 2.0)])
    for at in (NOW - 3 * DAY, NOW - DAY):
        history.record_decision("chat", "HOLD", "idle", at=at)
    history.record_decision("chat", "START", "go", at=NOW - 3 * DAY, settings=settings)
    gone = history.keep(Keeping({"samples": NOW - 2 * DAY, "decisions": NOW - 5 * DAY}))
    assert gone == {"samples": 1, "decisions": 0}
    assert history.keep(Keeping({"decisions": NOW - 2 * DAY})) == {"decisions": 1}
    assert [d.action for d in history.decisions("chat")] == ["START", "HOLD"]


def test_deleting_goes_on_over_many_small_steps(history: History, url: str) -> None:
    append(history, five_minutes(10))
    database = Database(open_engine(url))
    try:
        assert prune(database, everything(NOW), batch=7)["samples"] == 120
    finally:
        database.close()
    assert history.samples("chat", "rate", since=0) == []


def test_a_dry_run_tells_what_would_be_and_changes_nothing(history: History) -> None:
    append(history, five_minutes(100))
    keeping = Keeping({"samples": NOW - 50 * HOUR}, thin_before=NOW - 10 * HOUR)
    told = history.compact(keeping, dry_run=True)
    assert (told.deleted, told.thinned) == ({"samples": 600}, 440)
    assert told.rows_before["samples"] == 1200
    assert told.rows_after["samples"] == 160
    assert len(history.samples("chat", "rate", since=0)) == 1200
    done = history.compact(keeping)
    assert (done.deleted, done.thinned) == (told.deleted, told.thinned)
    assert done.rows_after == told.rows_after
    assert done.rows_before == told.rows_before


@pytest.fixture
def grown(history: History, url: str) -> Database:
    """A database with some megabytes of samples."""
    database = Database(open_engine(url))
    for number in range(10):
        with database.writing() as connection:
            connection.execute(
                insert(samples),
                [
                    {
                        "target": "chat",
                        "series": f"series-{number}-with-a-name-of-some-length",
                        "bucket_at": NOW - 300.0 * i,
                        "value": float(i),
                    }
                    for i in range(3000)
                ],
            )
    return database


def test_a_database_that_shrinks_by_steps(grown: Database) -> None:
    before = size_bytes(grown)
    prune(grown, everything(NOW + 1))
    shrink(grown.engine)
    after = size_bytes(grown)
    grown.close()
    if grown.engine.name == "sqlite":
        assert after < before / 4
    else:
        assert after > 0  # autovacuum's work


def test_compacting_an_older_file_makes_it_one_that_shrinks(
    grown: Database, history: History, url: str
) -> None:
    if grown.engine.name != "sqlite":
        grown.close()
        pytest.skip("only an SQLite file has a mode")
    grown.close()
    path = Path(url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA auto_vacuum=NONE")
        old.execute("VACUUM")
        assert old.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    told = history.compact(Keeping({"samples": NOW + 1}))
    assert told.bytes_after < told.bytes_before / 4
    assert path.stat().st_size == told.bytes_after
    database = Database(open_engine(url))
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert thin(database, NOW) == 0
    database.close()
