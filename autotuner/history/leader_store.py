"""Leadership terms as rows. A term is a daemon's right to write; the next one ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from autotuner.domain.errors import StaleLeaderError
from autotuner.history.leader_tables import leader_terms
from autotuner.history.sql import Row, fetch_first

TAKEN_OVER, HANDED_OVER = "taken over", "handed over"
_STOPPED_MS = "5000"  # chosen: between two statements of a leader's transaction pass milliseconds


@dataclass(frozen=True)
class LeaderTerm:
    """One daemon's time as the leader of those that share `name`. Times: UTC epoch seconds."""

    term: int
    name: str
    daemon_id: str
    began_at: float
    ended_at: float | None = None
    ended_how: str | None = None


def begin_term(connection: Connection, name: str, daemon_id: str, at: float) -> int:
    """A new term's number; the one in force ends here.

    On PostgreSQL its row is locked by every transaction of the old leader that writes
    (`check_term`): this waits for those that began before, and those after it find it ended.
    """
    connection.execute(
        update(leader_terms)
        .where(leader_terms.c.name == name, leader_terms.c.ended_at.is_(None))
        .values(ended_at=at, ended_how=TAKEN_OVER)
    )
    row = {"name": name, "daemon_id": daemon_id, "began_at": at}
    made = connection.execute(leader_terms.insert().values(row).returning(leader_terms.c.term))
    return int(made.scalar_one())


def end_term(connection: Connection, term: int, at: float) -> None:
    """`term` was given back by its own daemon; nothing where it had ended already."""
    connection.execute(
        update(leader_terms)
        .where(leader_terms.c.term == term, leader_terms.c.ended_at.is_(None))
        .values(ended_at=at, ended_how=HANDED_OVER)
    )


def read_term(connection: Connection, name: str) -> LeaderTerm | None:
    """The last term of `name`; it is in force unless it has ended."""
    query = select(leader_terms).where(leader_terms.c.name == name)
    row = fetch_first(connection, query.order_by(leader_terms.c.term.desc()).limit(1))
    return None if row is None else LeaderTerm(**row)


def check_term(connection: Connection, term: int) -> None:
    """Raises StaleLeaderError unless `term` is in force; it stays so to the transaction's end."""
    row = fetch_first(connection, _held(connection, term))
    if row is None or row["ended_at"] is not None:
        raise StaleLeaderError(_refusal(connection, term, row))


def _held(connection: Connection, term: int) -> Select[Any]:
    columns: list[Any] = [leader_terms]
    if connection.dialect.name == "postgresql":
        # A leader that is stopped in the middle of a transaction holds its row: the server ends
        # that transaction, so that the next leader need not wait for it. For this one alone.
        limit = func.set_config("idle_in_transaction_session_timeout", _STOPPED_MS, True)
        columns.append(limit.label("limit"))
    # FOR SHARE: writers of one term do not wait for each other, a new term waits for them.
    held = select(*columns).where(leader_terms.c.term == term)
    return held.with_for_update(read=True, of=leader_terms)


def _refusal(connection: Connection, term: int, row: Row | None) -> str:
    if row is None:
        return f"term {term} of leadership is not in the history: nothing was written"
    now = read_term(connection, row["name"])
    led = "" if now is None or now.ended_at is not None else f"; {now.daemon_id} leads now"
    return f"term {term} of leadership has ended ({row['ended_how']}){led}: nothing was written"
