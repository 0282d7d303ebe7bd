"""The front's part for leadership among daemons; knows no SQL."""

from __future__ import annotations

from autotuner.history import leader_lock, leader_store
from autotuner.history.front import Front
from autotuner.history.leader_store import LeaderTerm


class LeaderFront(Front):
    """Who may write, and since when."""

    def begin_term(self, name: str, daemon_id: str, at: float) -> int:
        """A new term's number. Only for who holds the lock of `name`: the term before ends."""
        return self._db.write(leader_store.begin_term, name, daemon_id, at)

    def end_term(self, term: int, at: float) -> None:
        """`term` is given back by its own daemon."""
        self._db.write(leader_store.end_term, term, at)

    def leader_term(self, name: str) -> LeaderTerm | None:
        """The last term of `name`; in force unless it has ended."""
        return self._db.read(leader_store.read_term, name)

    def leader_lock_held(self, name: str) -> bool | None:
        """Whether a daemon holds the lock of `name` now; None where the database can't tell."""
        if self._db.engine.name != "postgresql":
            return None
        return self._db.read(leader_lock.is_held, name)
