"""Who is let in, when, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.proxy.admission import Admission, QueueFullError


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(test: Coroutine[None, None, None]) -> None:
    asyncio.run(test)


class Guests:
    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.inside: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def come(self, *names: int) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._enter(name))
            await settle()

    async def _enter(self, name: int) -> None:
        await self.admission.enter()
        self.inside.append(name)


def test_first_come_first_served() -> None:
    async def test() -> None:
        guests = Guests(Admission(2, 10, 10))
        await guests.come(1, 2, 3, 4)
        assert (guests.inside, guests.admission.waiting) == ([1, 2], 2)
        guests.admission.leave()
        await settle()
        assert guests.inside == [1, 2, 3]
        guests.admission.set_limits(10, 10)
        await settle()
        assert (guests.inside, guests.admission.running) == ([1, 2, 3, 4], 3)

    run(test())


def test_a_full_queue_lets_nobody_wait() -> None:
    async def test() -> None:
        guests = Guests(Admission(1, 1, 10))
        await guests.come(1, 2)
        with pytest.raises(QueueFullError):
            await guests.admission.enter()
        assert (guests.admission.running, guests.admission.waiting) == (1, 1)

    run(test())


def test_who_leaves_the_queue_is_not_waited_for() -> None:
    async def test() -> None:
        guests = Guests(Admission(1, 10, 10))
        await guests.come(1, 2, 3)
        guests.tasks[2].cancel()
        await settle()
        assert guests.admission.waiting == 1
        guests.admission.leave()
        await settle()
        assert guests.inside == [1, 3]

    run(test())


def test_who_leaves_just_when_let_in_frees_the_place() -> None:
    async def test() -> None:
        guests = Guests(Admission(1, 10, 10))
        await guests.come(1, 2, 3)
        guests.admission.leave()
        guests.tasks[2].cancel()  # its turn has come, but it has not run yet
        await settle()
        assert guests.inside == [1, 3]
        assert guests.admission.running == 1

    run(test())


def test_a_hold_drains_and_lets_wait() -> None:
    async def test() -> None:
        guests = Guests(Admission(4, 0, 2))
        await guests.come(1)
        held, end = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with guests.admission.hold(60.0):
                held.set()
                await end.wait()

        holding = asyncio.create_task(hold())
        await guests.come(2, 3)
        assert (guests.inside, held.is_set()) == ([1], False)
        with pytest.raises(QueueFullError):
            await guests.admission.enter()
        guests.admission.leave()
        await settle()
        assert (guests.inside, held.is_set()) == ([1], True)
        end.set()
        await holding
        await settle()
        assert guests.inside == [1, 2, 3]

    run(test())


def test_a_hold_does_not_wait_for_ever() -> None:
    async def test() -> None:
        guests = Guests(Admission(4, 0, 2))
        await guests.come(1)
        async with guests.admission.hold(0.0):
            assert guests.admission.running == 1

    run(test())


def test_a_hold_ends_its_wait_where_no_answer_can_be_hoped_for() -> None:
    async def test() -> None:
        guests = Guests(Admission(4, 0, 2))
        await guests.come(1)
        hangs = asyncio.Event()

        async def enough() -> None:
            await hangs.wait()

        async def hold() -> None:
            async with guests.admission.hold(3600.0, enough):
                assert guests.admission.running == 1

        holding = asyncio.create_task(hold())
        await settle()
        assert not holding.done()
        hangs.set()
        await holding

    run(test())


@given(st.lists(st.sampled_from(["come", "leave", "cancel", "more", "fewer"]), max_size=40))
def test_counts_never_drift(steps: list[str]) -> None:
    async def test() -> None:
        guests, most = Guests(Admission(2, 100, 100)), 2
        for name, step in enumerate(steps):
            if step == "come":
                await guests.come(name)
            elif step == "leave" and guests.admission.running:
                guests.admission.leave()
            elif step == "cancel" and guests.tasks:
                guests.tasks.popitem()[1].cancel()
            elif step in ("more", "fewer"):
                most = max(1, most + (1 if step == "more" else -1))
                guests.admission.set_limits(most, 100)
            await settle()
            assert guests.admission.running >= 0
            assert guests.admission.waiting == sum(not t.done() for t in guests.tasks.values())
            assert not (guests.admission.waiting and guests.admission.running < most)

    run(test())
