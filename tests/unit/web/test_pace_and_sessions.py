"""How often a client may do a thing, and how long a session lasts."""

from __future__ import annotations

from autotuner.web.pace import Pace
from autotuner.web.sessions import Sessions
from autotuner.web.tokens import Role, new_token

ENTRY = new_token("ana", Role.OPERATOR)[1]


def test_a_burst_passes_then_one_at_a_time() -> None:
    pace = Pace(burst=3, every_s=10.0)
    assert [pace.wait_s("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert pace.wait_s("a", 0.0) == 10.0
    assert pace.wait_s("a", 4.0) == 6.0
    assert pace.wait_s("a", 10.0) == 0
    assert pace.wait_s("a", 10.0) == 10.0


def test_clients_have_a_pace_each() -> None:
    pace = Pace(burst=1, every_s=10.0)
    assert pace.wait_s("a", 0.0) == 0
    assert pace.wait_s("b", 0.0) == 0
    assert pace.wait_s("a", 0.0) > 0


def test_rest_never_saves_up_more_than_the_burst() -> None:
    pace = Pace(burst=2, every_s=1.0)
    pace.wait_s("a", 0.0)
    assert [pace.wait_s("a", 1e6) > 0 for _ in range(3)] == [False, False, True]


def test_memory_is_bounded_and_the_oldest_is_forgotten() -> None:
    pace = Pace(burst=1, every_s=1e9, clients=2)
    for client in ("a", "b", "c"):
        assert pace.wait_s(client, 0.0) == 0
    assert pace.wait_s("c", 0.0) > 0
    assert pace.wait_s("a", 0.0) == 0


def test_a_session_is_known_until_it_expires() -> None:
    sessions = Sessions(lasts_s=100.0)
    key = sessions.begin(ENTRY, 0.0)
    assert sessions.of(key, 99.0) == ENTRY
    assert sessions.of(key, 100.0) is None
    assert sessions.of(key, 50.0) is None  # what has ended never comes back


def test_a_session_that_was_ended_is_none() -> None:
    sessions = Sessions()
    key, other = sessions.begin(ENTRY, 0.0), sessions.begin(ENTRY, 0.0)
    assert sessions.end(key) == ENTRY
    assert sessions.end(key) is None
    assert sessions.of(key, 1.0) is None
    assert sessions.of(other, 1.0) == ENTRY


def test_the_oldest_session_gives_way() -> None:
    sessions = Sessions(most=2)
    keys = [sessions.begin(ENTRY, 0.0) for _ in range(3)]
    assert [sessions.of(key, 1.0) is None for key in keys] == [True, False, False]
