"""What waits while the database is away, against a store that can be switched off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from autotuner.domain.errors import HistoryError, HistoryUnavailableError
from autotuner.history.backlog import Backlog


@dataclass
class Store:
    """Keeps what it is told, unless it is away; refuses what is listed in `refused`."""

    away: bool = False
    kept: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    asked: int = 0

    def put(self, what: str) -> None:
        self.asked += 1
        if self.away:
            raise HistoryUnavailableError("gone")
        if what in self.refused:
            raise HistoryError("no")
        self.kept.append(what)

    def writing(self, what: str) -> Callable[[], None]:
        return partial(self.put, what)


def returned(backlog: Backlog, store: Store, now: float = 0.0) -> None:
    with backlog.returning(now):
        store.put("cycle")


def test_what_can_be_written_is_written_at_once() -> None:
    backlog, store = Backlog(), Store()
    backlog.write("a", store.writing("a"))
    assert (store.kept, backlog.waiting, backlog.problem) == (["a"], 0, "")


def test_what_waits_is_written_in_its_order_before_anything_else() -> None:
    backlog, store = Backlog(), Store(away=True)
    backlog.write("a", store.writing("a"))
    store.away = False
    backlog.write("b", store.writing("b"))  # it may not overtake
    assert (store.kept, backlog.waiting) == ([], 2)
    returned(backlog, store)
    assert (store.kept, backlog.waiting, backlog.problem) == (["a", "b", "cycle"], 0, "")


def test_an_away_database_is_asked_once_a_cycle_only() -> None:
    backlog, store = Backlog(), Store(away=True)
    with pytest.raises(HistoryUnavailableError):
        returned(backlog, store)
    for name in "abc":
        backlog.write(name, store.writing(name))
    assert backlog.ask(lambda: store.put("read"), None) is None
    assert store.asked == 1


def test_how_long_it_has_been_away() -> None:
    backlog, store = Backlog(), Store(away=True)
    for now in (10.0, 15.0):
        with pytest.raises(HistoryUnavailableError):
            returned(backlog, store, now)
    assert (backlog.away_s(70.0), backlog.problem) == (60.0, "gone")
    store.away = False
    returned(backlog, store, 80.0)
    assert backlog.away_s(90.0) == 0.0


def test_a_read_that_fails_gives_what_was_known() -> None:
    backlog, store = Backlog(), Store(away=True)

    def read() -> int:
        store.put("read")
        return 2

    assert (backlog.ask(read, 1), backlog.problem) == (1, "gone")
    store.away = False
    assert backlog.ask(read, 1) == 1, "until the next cycle has found it back"
    returned(backlog, store)
    assert backlog.ask(read, 1) == 2


def test_beyond_the_bound_the_oldest_that_is_not_needed_is_dropped_and_counted() -> None:
    backlog, store = Backlog(most=3), Store(away=True)
    backlog.write("outcome", store.writing("outcome"), needed=True)
    for name in "abcd":
        backlog.write(name, store.writing(name))
    assert (backlog.waiting, backlog.dropped) == (3, 2)
    store.away = False
    returned(backlog, store)
    assert store.kept == ["outcome", "c", "d", "cycle"]


def test_what_is_needed_is_kept_beyond_the_bound() -> None:
    backlog, store = Backlog(most=2), Store(away=True)
    for name in "abc":
        backlog.write(name, store.writing(name), needed=True)
    assert (backlog.waiting, backlog.dropped) == (3, 0)


def test_what_is_refused_when_it_comes_holds_up_nothing() -> None:
    backlog, store = Backlog(), Store(away=True, refused={"a"})
    for name in "ab":
        backlog.write(name, store.writing(name))
    store.away = False
    returned(backlog, store)
    assert (store.kept, backlog.dropped) == (["b", "cycle"], 1)


def test_what_is_refused_at_once_is_told_at_once() -> None:
    backlog, store = Backlog(), Store(refused={"a"})
    with pytest.raises(HistoryError, match="no"):
        backlog.write("a", store.writing("a"))
    assert backlog.waiting == 0


def test_going_away_again_while_catching_up_loses_nothing() -> None:
    backlog, store = Backlog(), Store(away=True)
    for name in "ab":
        backlog.write(name, store.writing(name))

    def cut() -> None:
        store.away = True
        raise HistoryUnavailableError("gone again")

    backlog.write("cut", cut)
    store.away = False
    with pytest.raises(HistoryUnavailableError):
        returned(backlog, store)
    assert (store.kept, backlog.waiting) == (["a", "b"], 1)
