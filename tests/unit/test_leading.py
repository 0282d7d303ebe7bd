"""Leadership by terms and a lock, with fakes of both."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from autotuner.domain.errors import HistoryError
from autotuner.history.leader_store import LeaderTerm
from autotuner.leading import LEASE_CHECKS, TRUST_CHECKS, Leadership


@dataclass
class FakeLock:
    """Held, or not, as the test says."""

    free: bool = True
    released: bool = False

    def hold(self) -> bool:
        return self.free

    def release(self) -> None:
        self.released = True


@dataclass
class FakeTerms:
    """Terms in memory; `away`: the database does not answer."""

    kept: list[LeaderTerm] = field(default_factory=list)
    away: bool = False

    def begin_term(self, name: str, daemon_id: str, at: float) -> int:
        self._answer()
        self.kept = [replace(t, ended_at=at) if t.ended_at is None else t for t in self.kept]
        self.kept.append(LeaderTerm(len(self.kept) + 1, name, daemon_id, at))
        return len(self.kept)

    def end_term(self, term: int, at: float) -> None:
        self._answer()
        self.kept[term - 1] = replace(self.kept[term - 1], ended_at=at)

    def leader_term(self, name: str) -> LeaderTerm | None:
        self._answer()
        return self.kept[-1] if self.kept else None

    def _answer(self) -> None:
        if self.away:
            raise HistoryError("away")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def one(lock: FakeLock, terms: FakeTerms, name: str = "a:1") -> tuple[Leadership, Clock]:
    clock = Clock()
    return Leadership("autotuner", name, lock, terms, check_s=2.0, clock=clock), clock


def test_who_has_the_lock_leads() -> None:
    leadership, _ = one(FakeLock(), FakeTerms())
    leadership.check(10.0)
    leadership.check(12.0)
    assert leadership.term == 1
    assert leadership.told() == {"role": "leader", "leader": "a:1", "term": 1}


def test_who_has_it_not_stands_by_and_says_who_leads() -> None:
    terms = FakeTerms()
    terms.begin_term("autotuner", "b:2", 1.0)
    leadership, _ = one(FakeLock(free=False), terms)
    leadership.check(10.0)
    assert leadership.told() == {"role": "standby", "leader": "b:2", "term": None}


def test_a_lock_that_is_silent_for_too_long_is_not_trusted() -> None:
    leadership, clock = one(FakeLock(), FakeTerms())
    leadership.check(10.0)
    assert leadership.confirmed()
    clock.now += TRUST_CHECKS * 2.0
    assert not leadership.confirmed()
    assert leadership.told()["role"] == "unconfirmed"


def test_trust_ends_before_the_server_gives_the_lock_away() -> None:
    assert TRUST_CHECKS < LEASE_CHECKS


def test_a_database_that_is_away_for_a_moment_leaves_the_term() -> None:
    lock, terms = FakeLock(), FakeTerms()
    leadership, _ = one(lock, terms)
    leadership.check(10.0)
    lock.free, terms.away = False, True
    leadership.check(12.0)
    assert (leadership.term, leadership.confirmed()) == (1, False)
    lock.free, terms.away = True, False
    leadership.check(14.0)
    assert (leadership.term, leadership.confirmed()) == (1, True)
    assert len(terms.kept) == 1


def test_a_term_that_another_took_over_is_over() -> None:
    lock, terms = FakeLock(), FakeTerms()
    leadership, _ = one(lock, terms)
    leadership.check(10.0)
    lock.free = False
    terms.begin_term("autotuner", "b:2", 12.0)
    leadership.check(14.0)
    assert leadership.told() == {"role": "standby", "leader": "b:2", "term": None}
    lock.free = True
    leadership.check(16.0)
    assert leadership.term == 3


def test_a_lock_that_came_back_after_another_led_is_a_new_term() -> None:
    """Stopped, taken over, and continued when the other had ended too."""
    leadership, _ = one(FakeLock(), terms := FakeTerms())
    leadership.check(10.0)
    terms.begin_term("autotuner", "b:2", 12.0)
    leadership.check(14.0)
    assert leadership.term == 3


def test_releasing_hands_over() -> None:
    lock, terms = FakeLock(), FakeTerms()
    leadership, _ = one(lock, terms)
    leadership.check(10.0)
    leadership.release()
    assert lock.released
    assert terms.kept[0].ended_at is not None
    assert leadership.term is None


def test_releasing_without_a_database_ends_all_the_same() -> None:
    lock, terms = FakeLock(), FakeTerms()
    leadership, _ = one(lock, terms)
    leadership.check(10.0)
    terms.away = True
    leadership.release()
    assert lock.released
