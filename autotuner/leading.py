"""One leader among the daemons that share a history: holds the lock, begins and ends terms.

Knows no database and no scheduler. What a leader runs is built anew for each term, on a history
that refuses all it writes once the term has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from autotuner.domain.errors import HistoryError
from autotuner.history.leader_store import LeaderTerm

log = structlog.get_logger()

# Chosen, in checks of `check_s`. What the holder trusts must end before the server's patience
# does, since both begin with the last check.
TRUST_CHECKS = 4
LEASE_CHECKS = 5


class Lock(Protocol):
    """Held by one process at a time."""

    def hold(self) -> bool:
        """Takes it where it is free, confirms it where it is held; False where it is not ours."""
        ...

    def release(self) -> None: ...


class Terms(Protocol):
    """Where terms are kept."""

    def begin_term(self, name: str, daemon_id: str, at: float) -> int: ...
    def end_term(self, term: int, at: float) -> None: ...
    def leader_term(self, name: str) -> LeaderTerm | None: ...


@dataclass
class Leadership:
    """The part of one process among those of `name`. `check` is for one thread; the rest for any.

    `term` stays until it is known that another has begun: while the database is away nothing can
    be decided anyway, and where another leads meanwhile the history refuses what is written under
    the old term. Where none has begun when the lock is held again, all goes on as it was.
    """

    name: str
    daemon_id: str
    lock: Lock
    terms: Terms
    check_s: float
    clock: Callable[[], float] = time.monotonic
    term: int | None = None
    leader: str = ""
    _confirmed: float | None = None
    _stopped: threading.Event = field(default_factory=threading.Event, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def confirmed(self) -> bool:
        """Whether the lock is surely held: nobody else can have it yet."""
        confirmed = self._confirmed
        recent = confirmed is not None and self.clock() - confirmed < TRUST_CHECKS * self.check_s
        return recent and self.term is not None

    def told(self) -> Mapping[str, Any]:
        """For /health: the role, who leads, and the term. "unconfirmed": the database is away."""
        role = "leader" if self.confirmed() else "standby" if self.term is None else "unconfirmed"
        return {"role": role, "leader": self.leader or None, "term": self.term}

    def check(self, now: float) -> None:
        """One sign of life; takes the lead where nobody has it. Never raises for a database."""
        asked = self.clock()  # before: the server counts from when it hears of us
        try:
            if self.lock.hold():
                self._begin(now)
                self._confirmed = asked
            else:
                self._confirmed = None
                self._follow()
        except HistoryError as problem:
            log.warning("leader.unknown", problem=str(problem))

    def start(self) -> None:
        """Checks from a thread of its own until `release`. The first check is made here.

        Raises HistoryError where the lock can never be had: another daemon has the SQLite file.
        """
        self.lock.hold()
        self.check(time.time())
        self._thread = threading.Thread(target=self._beat, name="leader", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Hands over at once; what was led must have ended."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=TRUST_CHECKS * self.check_s)
        term, self.term, self._confirmed = self.term, None, None
        if term is not None:
            try:
                self.terms.end_term(term, time.time())
                log.info("leader.handed_over", name=self.name, term=term)
            except HistoryError as problem:
                log.warning("leader.not_told", problem=str(problem))
        self.lock.release()

    def _beat(self) -> None:
        while not self._stopped.wait(self.check_s):
            self.check(time.time())

    def _begin(self, now: float) -> None:
        """The lock is ours: the term goes on where it is in force, else a new one begins."""
        last = self.terms.leader_term(self.name)
        if last is not None and last.term == self.term and last.ended_at is None:
            return
        self.term = self.terms.begin_term(self.name, self.daemon_id, now)
        self.leader = self.daemon_id
        before = last.daemon_id if last is not None else None
        log.info("leader.changed", name=self.name, leader=self.leader, term=self.term, was=before)

    def _follow(self) -> None:
        last = self.terms.leader_term(self.name)
        leader = last.daemon_id if last is not None and last.ended_at is None else ""
        if self.term is not None and last is not None and last.term != self.term:
            log.warning("leader.lost", name=self.name, term=self.term, leader=leader)
            self.term = None
        if leader and leader != self.leader:
            log.info("leader.changed", name=self.name, leader=leader, term=last and last.term)
        self.leader = leader
