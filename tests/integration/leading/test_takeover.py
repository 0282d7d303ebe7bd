"""Two daemons, one worker: who leads after a kill, a stop for a while, and a graceful end."""

from __future__ import annotations

import signal
import time

import pytest

from autotuner.domain.experiment import Experiment, Verdict
from autotuner.history.store import History
from tests.integration.daemon.processes import kill, kill_in_test, until
from tests.integration.leading.cluster import Cluster, Member

pytestmark = pytest.mark.process

TAKEOVER_S = 15.0  # what is promised
SLACK = 2.0  # on a machine that is busy with other tests


def pair_of_daemons(cluster: Cluster) -> tuple[Member, Member]:
    """The first one leads, the second one stands by."""
    first = cluster.join("first")
    until(lambda: first.role() == "leader")
    second = cluster.join("second")
    until(lambda: second.role() == "standby")
    return first, second


def expect_succession(cluster: Cluster, history: History, left: Experiment) -> None:
    """The test that was running is closed as aborted and the incumbent is live."""
    until(lambda: left.id not in [test.id for test in history.open_experiments("t")])
    until(lambda: cluster.live()["max_num_seqs"] == left.control["max_num_seqs"])
    closed = history.experiment(left.id)
    assert closed is not None
    assert closed.conclusion is not None
    assert closed.conclusion.verdict is Verdict.ABORTED


def test_a_killed_leader_is_succeeded(cluster: Cluster) -> None:
    cluster.start_worker()
    cluster.start_load()
    first, second = pair_of_daemons(cluster)
    history = cluster.history()
    assert (first.leader_gauge(), second.leader_gauge()) == (1.0, 0.0)
    assert second.health()["leader"].endswith(f":{first.process.pid}")

    left = kill_in_test(first.process, history, lambda test: len(test.slots) > 0)
    died = time.monotonic()
    until(lambda: second.role() == "leader" and second.leader_gauge() == 1.0)
    assert time.monotonic() - died < SLACK * TAKEOVER_S
    expect_succession(cluster, history, left)

    terms = {decision.term for decision in history.decisions("t")}
    last = history.leader_term("autotuner")
    assert last is not None
    assert last.daemon_id.endswith(f":{second.process.pid}")
    assert last.term == max(term for term in terms if term is not None)
    history.close()


def test_a_leader_that_was_stopped_can_neither_push_nor_write(cluster: Cluster) -> None:
    """It is stopped in the middle of a test, and continued when another leads."""
    cluster.start_worker()
    cluster.start_load()
    first, second = pair_of_daemons(cluster)
    history = cluster.history()
    left: list[Experiment] = []

    def in_the_treatment() -> bool:
        first.process.send_signal(signal.SIGSTOP)
        left[:] = [test for test in history.open_experiments("t") if len(test.slots) > 1]
        if not left:
            first.process.send_signal(signal.SIGCONT)
        return bool(left)

    until(in_the_treatment, within_s=200)
    until(lambda: second.role() == "leader")
    expect_succession(cluster, history, left[0])
    before = history.leader_term("autotuner")
    assert before is not None
    written = [d.id for d in history.decisions("t", limit=500) if d.term == before.term - 1]

    first.process.send_signal(signal.SIGCONT)
    until(lambda: first.role() == "standby")
    until(lambda: first.health()["seconds_since_cycle"] == {})
    later = [d.id for d in history.decisions("t", limit=500) if d.term == before.term - 1]
    assert later == written
    closed = history.experiment(left[0].id)
    assert closed is not None
    assert closed.conclusion is not None
    assert closed.conclusion.verdict is Verdict.ABORTED
    assert history.leader_term("autotuner") == before
    assert second.role() == "leader"
    history.close()


def test_a_graceful_end_hands_over(cluster: Cluster) -> None:
    cluster.start_worker()
    first, second = pair_of_daemons(cluster)
    history = cluster.history()
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(timeout=60) == 0
    until(lambda: second.role() == "leader")
    third = cluster.join("third")
    until(lambda: third.role() == "standby")
    kill(second.process)
    until(lambda: third.role() == "leader")
    until(lambda: third.health()["seconds_since_cycle"].get("t") is not None)
    history.close()
