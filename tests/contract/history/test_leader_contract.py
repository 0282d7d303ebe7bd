"""Terms and locks of leadership, on both databases."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from autotuner.domain.errors import HistoryError, StaleGenerationError, StaleLeaderError
from autotuner.history.engine import open_engine
from autotuner.history.leader_lock import FileLock, PostgresLock, is_held
from autotuner.history.store import History
from autotuner.tuner import Action, Tuner
from tests.contract.history.conftest import new_database
from tests.contract.history.test_journal_on_history import RULES, woken
from tests.unit.tuner.world import LIVE, NEW, NOW, OLD, Scripted, decide, seen

TARGET = "chat"
START = 1_764_000_000.0


@pytest.fixture
def server_url(postgresql: Path) -> str:
    return new_database(postgresql, "template1")


def test_a_new_term_ends_the_one_before(history: History) -> None:
    first = history.begin_term("autotuner", "a:1", START)
    second = history.begin_term("autotuner", "b:2", START + 9)
    other = history.begin_term("elsewhere", "c:3", START)
    assert first < second < other
    last = history.leader_term("autotuner")
    assert last is not None
    assert (last.term, last.daemon_id, last.ended_at) == (second, "b:2", None)
    history.end_term(second, START + 20)
    last = history.leader_term("autotuner")
    assert last is not None
    assert (last.ended_at, last.ended_how) == (START + 20, "handed over")


def test_decisions_tell_their_term(history: History) -> None:
    term = history.begin_term("autotuner", "a:1", START)
    history.under(term).record_decision(TARGET, "HOLD", "idle", at=START)
    history.record_decision(TARGET, "HOLD", "by nobody", at=START)
    assert [d.term for d in history.decisions(TARGET)] == [None, term]


def test_a_stale_leader_writes_nothing(history: History) -> None:
    stale = history.under(history.begin_term("autotuner", "a:1", START))
    stale.record_decision(TARGET, "HOLD", "in its own term", at=START)
    history.begin_term("autotuner", "b:2", START + 1)
    with pytest.raises(StaleLeaderError, match="b:2 leads now"):
        stale.record_decision(TARGET, "HOLD", "late", at=START + 2)
    with pytest.raises(StaleLeaderError), stale.together():
        stale.append_samples(TARGET, [("rate_rps", START, 1.0)])
    assert [d.reason for d in history.decisions(TARGET)] == ["in its own term"]
    assert history.samples(TARGET, "rate_rps", since=0) == []
    assert stale.decisions(TARGET), "it may still read"


def test_a_term_that_nobody_began_is_refused(history: History) -> None:
    with pytest.raises(StaleLeaderError, match="not in the history"):
        history.under(4711).record_decision(TARGET, "HOLD", "who", at=START)


def test_a_takeover_waits_for_a_write_that_began_before(history: History) -> None:
    """Else it could be committed after the next leader has looked at what was left open."""
    leader = history.under(history.begin_term("autotuner", "a:1", START))
    done = threading.Event()

    def take_over() -> None:
        history.begin_term("autotuner", "b:2", START + 1)
        done.set()

    with leader.together():
        leader.record_decision(TARGET, "HOLD", "under way", at=START)
        successor = threading.Thread(target=take_over)
        successor.start()
        assert not done.wait(0.5)
    successor.join(timeout=20)
    assert done.is_set()
    assert [d.reason for d in history.decisions(TARGET)] == ["under way"]


@pytest.mark.process
def test_one_session_holds_the_lock(server_url: str) -> None:
    engine = open_engine(server_url)
    first, second = (PostgresLock(engine.url, "autotuner", 10.0) for _ in range(2))
    other = PostgresLock(engine.url, "another name", 10.0)
    assert first.hold()
    assert first.hold(), "confirmed"
    assert not second.hold()
    assert other.hold()
    with engine.connect() as connection:
        assert is_held(connection, "autotuner")
        assert not is_held(connection, "nobody's")
    first.release()
    assert second.hold()
    other.release()
    second.release()
    engine.dispose()


@pytest.mark.process
def test_a_session_that_ended_is_noticed(server_url: str) -> None:
    engine = open_engine(server_url)
    first, second = (PostgresLock(engine.url, "autotuner", 10.0) for _ in range(2))
    assert first.hold()
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
                "AND objsubid = 2 AND pid <> pg_backend_pid()"
            )
        )
    assert not first.hold()
    assert second.hold()
    assert not first.hold()
    first.release()
    second.release()
    engine.dispose()


@pytest.mark.process
def test_a_holder_that_falls_silent_loses_the_lock(server_url: str) -> None:
    """Its connection stays, as that of a process under SIGSTOP does; the server's patience ends."""
    engine = open_engine(server_url)
    silent, other = (PostgresLock(engine.url, "autotuner", 1.0) for _ in range(2))
    assert silent.hold()
    waiting = threading.Event()
    taken = any(other.hold() or waiting.wait(0.2) for _ in range(100))
    assert taken
    assert not silent.hold()
    silent.release()
    other.release()
    engine.dispose()


HOLDER = """
import sys
from pathlib import Path
from autotuner.history.leader_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.hold()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_on_sqlite_is_told_of_the_first(tmp_path: Path) -> None:
    database = tmp_path / "history.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        lock = FileLock(database)
        with pytest.raises(HistoryError, match=f"pid {other.pid}.*PostgreSQL"):
            lock.hold()
        other.kill()
        other.wait()
        assert lock.hold(), "the system gives it back, whatever the end was"
        lock.release()


@pytest.mark.parametrize("same", [True, False], ids=["own term", "another's"])
def test_a_push_that_another_leader_may_still_send_is_outrun(history: History, same: bool) -> None:
    """Its decision is recorded and its outcome unknown; the incumbent runs, as if it never came."""
    first = history.under(history.begin_term("autotuner", "a:1", START))
    woken(first)
    first.record_decision(
        TARGET, "START", "testing", at=NOW, generation=LIVE.generation, settings=NEW
    )
    heir = first if same else history.under(history.begin_term("autotuner", "b:2", START + 1))
    state = woken(heir, now=NOW + 1)
    assert state.incumbent == OLD
    decision = decide(state, seen(), policy=RULES, now=NOW + 2)
    if same:
        assert decision.apply != OLD
    else:
        # The same settings again: it is the generation that makes the target refuse the late one.
        assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)


@pytest.mark.parametrize("tried", [False, True], ids=["before ours", "just before ours"])
def test_a_push_that_came_after_all_is_undone(history: History, tried: bool) -> None:
    """It is not taken for a person's change, however close it came to ours."""
    first = history.under(history.begin_term("autotuner", "a:1", START))
    woken(first)
    first.record_decision(
        TARGET, "START", "testing", at=NOW, generation=LIVE.generation, settings=NEW
    )
    state = woken(history.under(history.begin_term("autotuner", "b:2", START + 1)), now=NOW + 1)
    if tried:
        ours = decide(state, seen(), policy=RULES, now=NOW + 2)
        stale = StaleGenerationError("409")  # the late one was faster
        state = Tuner(RULES, Scripted()).failed(state, ours, stale, LIVE, NOW + 2)
    late = replace(LIVE, settings=NEW, generation=LIVE.generation + 1)
    decision = decide(state, seen(live=late), policy=RULES, now=NOW + 3)
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert decision.state.incumbent == OLD
