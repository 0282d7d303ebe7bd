from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.delivery import (
    MAX_DELAY_S,
    MAX_RETRY_AFTER_S,
    STEP_S,
    Courier,
    DeliveryError,
    Sender,
    backoff_s,
    mark_strays,
)
from autotuner.alerts.outbox import MemoryOutbox
from autotuner.alerts.pace import Pace


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


class StoppedClock:
    """Stands still, save for what a test adds to it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def courier(
    outbox: MemoryOutbox,
    sender: Sender,
    receiver: str = "a",
    per_minute: int = 1000,
    clock: StoppedClock | None = None,
) -> Courier:
    pace = Pace(per_minute)
    return Courier(outbox, receiver, sender, pace, seed=0, monotonic=clock or StoppedClock())


def filled(*receivers: str) -> MemoryOutbox:
    outbox = MemoryOutbox()
    for n, receiver in enumerate(receivers):
        outbox.add(receiver, {"n": n})
    return outbox


def test_what_is_due_is_delivered_in_order_and_once() -> None:
    outbox, a = filled("a", "a", "a"), Receiver()
    report = courier(outbox, a).deliver_due(0.0)
    assert (report.delivered, report.failed, report.held) == (3, 0, 0)
    assert a.taken == [0, 1, 2]
    assert outbox.undelivered() == ()


def test_behind_a_dead_receiver_all_wait_in_order() -> None:
    outbox, a = filled("a", "a"), Receiver(DOWN)
    post = courier(outbox, a)
    report = post.deliver_due(0.0)
    assert (report.failed, report.held, report.problem) == (1, 1, "no answer")
    outbox.add("a", {"n": 2})  # written while the receiver is silent
    post.deliver_due(0.001)
    assert a.tried == [0]
    post.deliver_due(MAX_DELAY_S)
    assert a.taken == [0, 1, 2]


def test_what_waits_behind_a_dead_receiver_is_left_alone() -> None:
    outbox = filled("a", "a", "a")
    post = courier(outbox, Receiver(DOWN))
    post.deliver_due(0.0)
    assert [entry.attempts for entry in outbox.undelivered()] == [1, 0, 0]


def test_each_courier_sees_its_own_receiver_only() -> None:
    outbox, a, b = filled("a", "b", "a", "b"), Receiver(DOWN), Receiver()
    courier(outbox, a).deliver_due(0.0)
    report = courier(outbox, b, "b").deliver_due(0.0)
    assert b.taken == [1, 3]
    assert (report.delivered, report.failed, report.held) == (2, 0, 0)


def test_a_refused_notification_holds_up_no_other() -> None:
    outbox, a = filled("a", "a"), Receiver(REFUSED)
    post = courier(outbox, a)
    post.deliver_due(0.0)
    assert a.taken == [1]
    assert [e.error for e in outbox.undelivered()] == ["answered 400"]
    post.deliver_due(MAX_DELAY_S)
    assert a.taken == [1, 0]


def test_a_refused_notification_holds_up_what_follows_about_its_alert() -> None:
    outbox, a = MemoryOutbox(), Receiver(REFUSED)
    for n, alert in enumerate(["x", "y", "x"]):
        outbox.add("a", {"n": n}, alert)
    post = courier(outbox, a)
    post.deliver_due(0.0)
    post.deliver_due(0.001)
    assert a.taken == [1]
    for step in range(1, 4):
        post.deliver_due(step * MAX_DELAY_S)
    assert a.taken == [1, 0, 2]


def test_a_restart_does_not_let_resolved_overtake_firing() -> None:
    outbox = MemoryOutbox()
    for n in range(2):
        outbox.add("a", {"n": n}, "x")
    courier(outbox, Receiver(DOWN)).deliver_due(0.0)
    a = Receiver()
    restarted = courier(outbox, a)  # it does not know that the receiver was down
    restarted.deliver_due(0.001)
    assert a.tried == []
    for step in range(1, 3):
        restarted.deliver_due(step * MAX_DELAY_S)
    assert a.taken == [0, 1]


def test_nothing_is_ever_dropped() -> None:
    outbox, a = filled("a"), Receiver(*[DOWN] * 100)
    post = courier(outbox, a)
    for i in range(100):
        post.deliver_due(i * MAX_DELAY_S)
    assert outbox.undelivered()[0].attempts == 100
    post.deliver_due(100 * MAX_DELAY_S)
    assert a.taken == [0]


def test_a_receiver_that_came_back_is_soon_asked_again_when_it_goes() -> None:
    waits = []
    for seed in range(20):
        outbox, now = filled(*["a"] * 12), 0.0
        a = Receiver(*[DOWN] * 8, None, DOWN)
        post = Courier(outbox, "a", a, Pace(1000), seed, StoppedClock())
        while not a.taken:
            now += MAX_DELAY_S
            post.deliver_due(now)
        waits.append(outbox.undelivered()[0].next_at - now)
    assert max(waits) <= 5.0


def test_after_an_hours_outage_all_arrive_in_order_and_soon() -> None:
    outbox, hour = MemoryOutbox(), 3600.0
    now, back = [0.0], list[float]()

    class DownForAnHour(Receiver):
        def send(self, payload: Mapping[str, Any]) -> None:
            if now[0] < hour:
                self.tried.append(payload["n"])
                raise DOWN
            super().send(payload)
            back.append(now[0])

    a = DownForAnHour()
    post = courier(outbox, a)
    while now[0] < hour + MAX_DELAY_S + 2.0:
        if now[0] % 60.0 == 0.0:
            outbox.add("a", {"n": len(outbox.undelivered())})
        post.deliver_due(now[0], limit=100)
        now[0] += 2.0
    assert set(a.tried[: a.tried.index(1)]) == {0}  # only the first knocks at a closed door
    assert a.taken[:61] == list(range(61))
    assert back[0] - hour <= MAX_DELAY_S
    assert a.tried.count(0) < 200


def test_a_receiver_that_is_not_configured_says_so() -> None:
    outbox = filled("gone", "a", "gone")
    assert mark_strays(outbox, {"a"}, 0.0) == 2
    first, _, third = outbox.undelivered()
    assert "'gone' is not configured" in first.error
    assert third.error == first.error
    assert mark_strays(outbox, {"a"}, 15.0) == 0  # it is said once
    a = Receiver()
    courier(outbox, a, "gone").deliver_due(15.0)  # and nothing waits once there is one
    assert a.taken == [0, 2]


def test_the_receivers_own_wish_counts_up_to_the_cap() -> None:
    for asked_s, waits_s in ((600.0, 600.0), (1e9, MAX_RETRY_AFTER_S)):
        outbox = filled("a")
        slow_down = DeliveryError("answered 429", retry_after_s=asked_s)
        courier(outbox, Receiver(slow_down)).deliver_due(0.0)
        assert [e.next_at for e in outbox.undelivered()] == [waits_s]


def test_a_step_takes_no_more_than_its_limit() -> None:
    outbox, a = filled("a", "a", "a"), Receiver()
    post = courier(outbox, a)
    assert post.deliver_due(0.0, limit=2).delivered == 2
    assert post.deliver_due(0.0, limit=2).delivered == 1


def test_beyond_its_pace_a_receiver_is_left_alone_and_nothing_is_lost() -> None:
    outbox, a = filled(*["a"] * 5), Receiver()
    post = courier(outbox, a, per_minute=2)
    report = post.deliver_due(0.0)
    assert (report.delivered, report.held) == (2, 3)
    assert post.deliver_due(59.0).held == 3
    assert post.deliver_due(61.0).delivered == 2
    assert post.deliver_due(130.0).delivered == 1
    assert a.taken == [0, 1, 2, 3, 4]
    assert {entry.attempts for entry in outbox.undelivered()} == set()


def test_a_slow_receiver_does_not_make_a_step_endless() -> None:
    clock = StoppedClock()

    class Slow(Receiver):
        def send(self, payload: Mapping[str, Any]) -> None:
            clock.now += 4.0
            super().send(payload)

    outbox, a = filled(*["a"] * 9), Slow()
    post = courier(outbox, a, clock=clock)
    assert post.deliver_due(0.0).delivered == 3  # begun after 0, 4 and 8 seconds
    assert STEP_S == 10.0
    assert post.deliver_due(14.0).delivered == 3


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_waits_are_capped_and_never_negative(attempts: int, seed: int) -> None:
    wait = backoff_s(attempts, np.random.default_rng(seed))
    assert 0.0 <= wait <= min(MAX_DELAY_S, 5.0 * 2.0 ** min(attempts, 20))


def test_waits_grow_and_are_spread() -> None:
    rng = np.random.default_rng(0)
    means = [np.mean([backoff_s(n, rng) for _ in range(400)]) for n in (0, 2, 4, 20)]
    assert means == pytest.approx([2.5, 10.0, 40.0, 60.0], rel=0.15)
    assert backoff_s(3, np.random.default_rng(1)) == backoff_s(3, np.random.default_rng(1))


@given(st.lists(st.sampled_from(["ok", "down", "refused"]), max_size=40), st.integers(1, 6))
def test_all_arrive_and_outages_keep_the_order(answers: list[str], count: int) -> None:
    replies = {"ok": None, "down": DOWN, "refused": REFUSED}
    outbox, a = filled(*["a"] * count), Receiver(*[replies[x] for x in answers])
    post = courier(outbox, a)
    for i in range(60):
        post.deliver_due(i * MAX_DELAY_S)
    assert outbox.undelivered() == ()
    assert sorted(map(str, a.taken)) == sorted(map(str, range(count)))
    if "refused" not in answers:
        assert a.taken == list(range(count))
