"""Who leads the daemons of a configuration, as `autotuner status` tells it."""

from __future__ import annotations

from typing import Any

from autotuner.commands.views import when
from autotuner.history.store import History


def leader_as_dict(history: History, name: str) -> dict[str, Any] | None:
    """None before the first term. `alive`: whether a session holds the lock; None on SQLite."""
    last = history.leader_term(name)
    if last is None:
        return None
    return {
        "daemon": last.daemon_id,
        "term": last.term,
        "since": last.began_at,
        "ended_at": last.ended_at,
        "ended_how": last.ended_how,
        "alive": history.leader_lock_held(name),
    }


def leader_sentence(leader: dict[str, Any] | None) -> str:
    """One line for people."""
    if leader is None:
        return "leader: none yet; has the daemon run?"
    who = f"{leader['daemon']} (term {leader['term']}, since {when(leader['since'])} UTC)"
    if leader["ended_at"] is not None:
        return f"leader: nobody; the last one was {who}, {leader['ended_how']}"
    if leader["alive"] is False:
        return f"leader: nobody; {who} is gone and no other daemon has taken over"
    return f"leader: {who}"
