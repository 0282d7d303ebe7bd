from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.delivery import MAX_DELAY_S, Courier, DeliveryError, Sender, backoff_s
from autotuner.alerts.outbox import MemoryOutbox


class Receiver:
    """A sender whose every answer is told beforehand; after that it takes all."""

    def __init__(self, *answers: DeliveryError | None) -> None:
        self._answers = list(answers)
        self.tried: list[object] = []
        self.taken: list[object] = []

    def send(self, payload: Mapping[str, Any]) -> None:
        self.tried.append(payload["n"])
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            raise answer
        self.taken.append(payload["n"])


DOWN = DeliveryError("no answer")
REFUSED = DeliveryError("answered 400", receiver_down=False)


def courier(outbox: MemoryOutbox, **senders: Sender) -> Courier:
    return Courier(outbox, senders, seed=0)


def filled(*receivers: str) -> MemoryOutbox:
    outbox = MemoryOutbox()
    for n, receiver in enumerate(receivers):
        outbox.add(receiver, {"n": n})
    return outbox


def test_what_is_due_is_delivered_in_order_and_once() -> None:
    outbox, a = filled("a", "a", "a"), Receiver()
    report = courier(outbox, a=a).deliver_due(0.0)
    assert (report.delivered, report.failed, report.held) == (3, 0, 0)
    assert a.taken == [0, 1, 2]
    assert outbox.undelivered() == ()


def test_behind_a_dead_receiver_all_wait_in_order() -> None:
    outbox, a = filled("a", "a"), Receiver(DOWN)
    post = courier(outbox, a=a)
    assert post.deliver_due(0.0).held == 1
    outbox.add("a", {"n": 2})  # written while the receiver is silent
    post.deliver_due(0.001)
    assert a.tried == [0]
    post.deliver_due(MAX_DELAY_S)
    assert a.taken == [0, 1, 2]


def test_a_dead_receiver_holds_up_no_other() -> None:
    outbox, a, b = filled("a", "b", "a", "b"), Receiver(DOWN), Receiver()
    report = courier(outbox, a=a, b=b).deliver_due(0.0)
    assert b.taken == [1, 3]
    assert (report.delivered, report.failed, report.held) == (2, 1, 1)


def test_a_refused_notification_holds_up_no_other() -> None:
    outbox, a = filled("a", "a"), Receiver(REFUSED)
    post = courier(outbox, a=a)
    post.deliver_due(0.0)
    assert a.taken == [1]
    assert [e.error for e in outbox.undelivered()] == ["answered 400"]
    post.deliver_due(MAX_DELAY_S)
    assert a.taken == [1, 0]


def test_nothing_is_ever_dropped() -> None:
    outbox, a = filled("a"), Receiver(*[DOWN] * 100)
    post = courier(outbox, a=a)
    for i in range(100):
        post.deliver_due(i * MAX_DELAY_S)
    assert outbox.undelivered()[0].attempts == 100
    post.deliver_due(100 * MAX_DELAY_S)
    assert a.taken == [0]


def test_a_receiver_that_is_not_configured_says_so() -> None:
    outbox = filled("gone")
    courier(outbox).deliver_due(0.0)
    (entry,) = outbox.undelivered()
    assert "'gone' is not configured" in entry.error


def test_the_receivers_own_wish_counts_up_to_the_cap() -> None:
    outbox = filled("a", "b")
    slow_down = DeliveryError("answered 429", retry_after_s=600.0)
    for_ever = DeliveryError("answered 429", retry_after_s=1e9)
    courier(outbox, a=Receiver(slow_down), b=Receiver(for_ever)).deliver_due(0.0)
    assert [e.next_at for e in outbox.undelivered()] == [600.0, MAX_DELAY_S]


def test_a_step_takes_no_more_than_its_limit() -> None:
    outbox, a = filled("a", "a", "a"), Receiver()
    post = courier(outbox, a=a)
    assert post.deliver_due(0.0, limit=2).delivered == 2
    assert post.deliver_due(0.0, limit=2).delivered == 1


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_waits_are_capped_and_never_negative(attempts: int, seed: int) -> None:
    wait = backoff_s(attempts, np.random.default_rng(seed))
    assert 0.0 <= wait <= min(MAX_DELAY_S, 5.0 * 2.0 ** min(attempts, 20))


def test_waits_grow_and_are_spread() -> None:
    rng = np.random.default_rng(0)
    means = [np.mean([backoff_s(n, rng) for _ in range(400)]) for n in (0, 2, 4, 20)]
    assert means == pytest.approx([2.5, 10.0, 40.0, 450.0], rel=0.15)
    assert backoff_s(3, np.random.default_rng(1)) == backoff_s(3, np.random.default_rng(1))


@given(st.lists(st.sampled_from(["ok", "down", "refused"]), max_size=40), st.integers(1, 6))
def test_all_arrive_and_outages_keep_the_order(answers: list[str], count: int) -> None:
    replies = {"ok": None, "down": DOWN, "refused": REFUSED}
    outbox, a = filled(*["a"] * count), Receiver(*[replies[x] for x in answers])
    post = courier(outbox, a=a)
    for i in range(60):
        post.deliver_due(i * MAX_DELAY_S)
    assert outbox.undelivered() == ()
    assert sorted(map(str, a.taken)) == sorted(map(str, range(count)))
    if "refused" not in answers:
        assert a.taken == list(range(count))
