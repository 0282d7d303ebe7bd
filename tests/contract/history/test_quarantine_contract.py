"""Quarantines: listed while they hold, lifted once by a person, and the daemon hears of it."""

from __future__ import annotations

import pytest

from autotuner.asking import lift_named
from autotuner.domain.errors import HistoryError
from autotuner.domain.feasibility import Fault, Infeasible
from autotuner.history.store import History
from tests.contract.history.test_journal_on_history import journal_of, woken
from tests.unit.tuner.world import FAR, LIVE, NEW, NOW, OLD

AT = NOW + 10


def bar(history: History) -> None:
    woken(history)
    history.quarantine("chat", NEW, reason="start-kv: no room", at=NOW)
    history.quarantine("chat", FAR, reason="HARMFUL: slower", at=NOW + 1, until=NOW + 3600)


def test_what_holds_is_listed_and_what_has_ended_is_not(history: History) -> None:
    bar(history)
    told = [(one.settings, one.reason, one.until_at) for one in history.held("chat", AT)]
    assert told == [
        (NEW, "start-kv: no room", None),
        (FAR, "HARMFUL: slower", NOW + 3600),
    ]
    assert history.held("other", AT) == []
    assert [one.settings for one in history.held(None, NOW + 4000)] == [NEW]


def test_who_lifted_it_and_why_stay(history: History) -> None:
    bar(history)
    held = lift_named(history, NEW.digest[:8], None, "ada", "a larger GPU", AT)
    assert (held.target, held.settings) == ("chat", NEW)
    assert history.barred("chat") == []
    assert history.quarantined("chat", AT) == {FAR.digest}
    last = history.decisions("chat", limit=1)[0]
    assert last.reason.startswith("ada lets ")
    assert last.reason.endswith("be tried again: a larger GPU")
    assert not history.lift(held, "ben", "me too", AT + 1)
    woken_up = woken(history, now=AT)
    assert (woken_up.infeasible, set(woken_up.quarantined)) == ((), {FAR.digest})


@pytest.mark.parametrize("named", ["", "no such", "both"])
def test_it_must_be_clear_which_one_is_meant(history: History, named: str) -> None:
    bar(history)
    history.record_target("other", kind="worker", url="http://b", at=NOW)
    history.quarantine("other", NEW, reason="crashed: so", at=NOW)
    digest = NEW.digest if named == "both" else named
    with pytest.raises(HistoryError, match="--target" if named == "both" else "quarantine list"):
        lift_named(history, digest, None, "ada", "why", AT)
    assert lift_named(history, NEW.digest, "other", "ada", "why", AT).target == "other"


def test_a_running_daemon_hears_of_each_lift_until_it_followed(history: History) -> None:
    bar(history)
    journal = journal_of(history)
    assert journal.wishes(NOW).lifted == frozenset()
    lift_named(history, NEW.digest, "chat", "ada", "why", AT)
    for _ in range(2):  # also where the first cycle broke off
        assert journal.wishes(AT).lifted == {NEW.digest}
    state = woken(history, LIVE, now=NOW)
    assert state.incumbent == OLD
    history.quarantine("chat", NEW, reason="start-kv: still no room", at=AT + 1)
    barred = state.without(Infeasible(NEW, Fault.START_KV, "still no room"))
    assert barred.lifted(journal_of(history).wishes(AT + 2).lifted) is barred
