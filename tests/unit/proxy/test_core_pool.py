"""Which server takes a request."""

from __future__ import annotations

import asyncio

from autotuner.proxy.pool import Load, Pool, drained
from autotuner.proxy.ports import Backend

A, B, C = (Backend(f"http://{name}", name) for name in "abc")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(pool: Pool, count: int) -> str:
    names = ""
    for _ in range(count):
        load = pool.pick()
        assert load is not None
        load.enter()
        names += load.backend.name
    return names


def test_requests_go_by_weight() -> None:
    pool = Pool([A, B], {"a": 3.0}, Clock())
    names = taken(pool, 40)
    assert (names.count("a"), names.count("b")) == (30, 10)


def test_among_equals_they_go_in_turn() -> None:
    pool = Pool([A, B], {}, Clock())
    order = ""
    for _ in range(4):
        order += taken(pool, 1)
        for load in pool._loads:
            if load.in_flight:
                load.leave()
    assert order == "abab"


def test_no_weight_no_requests() -> None:
    assert taken(Pool([A, B], {"a": 0.0}, Clock()), 3) == "bbb"
    assert Pool([A], {"a": 0.0}, Clock()).pick() is None
    assert Pool([], {}, Clock()).pick() is None


def test_one_that_refused_rests_unless_it_is_the_last() -> None:
    clock = Clock()
    pool = Pool([A, B], {}, clock)
    first = pool.pick()
    assert first is not None
    pool.rest(first, 5.0)
    assert taken(pool, 3) == "bbb"
    other = pool.pick([load for load in pool._loads if load is not first])
    assert other is first
    clock.now = 6.0
    assert taken(pool, 1) == "a"


def test_a_switch_keeps_what_stays_and_tells_what_goes() -> None:
    async def test() -> None:
        pool = Pool([A, B], {}, Clock())
        assert taken(pool, 2) == "ab"
        (gone,) = pool.replace([B, C])
        assert (gone.backend, gone.in_flight) == (A, 1)
        assert taken(pool, 2) in ("cb", "bc", "cc")
        await drained([gone], 0.0)  # has no more time
        waiting = asyncio.create_task(drained([gone], 60.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        gone.leave()
        await waiting

    asyncio.run(test())


def test_silence_is_of_one_server_and_any_byte_ends_it() -> None:
    clock = Clock()
    pool = Pool([A, B], {}, clock)
    assert taken(pool, 3) == "aba"
    clock.now = 10.0
    assert (pool.silent_s(A), pool.silent_s(B), pool.silent_s(C)) == (10.0, 10.0, 0.0)
    first = next(load for load in pool._loads if load.backend == A)
    first.heard()
    clock.now = 15.0
    assert (pool.silent_s(A), pool.silent_s(B)) == (5.0, 15.0)
    first.leave()
    first.leave()
    clock.now = 100.0
    assert pool.silent_s(A) == 0.0  # nothing is there
    first.enter()
    assert pool.silent_s(A) == 0.0  # it had answered before
    pool.replace([A, B])
    assert pool.silent_s(B) == 0.0  # a new process may be there


def test_those_who_give_up_in_vain_end_no_silence() -> None:
    clock = Clock()
    pool = Pool([A], {}, clock)
    load = pool.pick()
    assert load is not None
    for clock.now in (0.0, 40.0, 80.0):
        load.enter()
        told = pool.silent_s(A)
        load.leave()
    assert told == 80.0


def test_new_weights_act_at_once() -> None:
    pool = Pool([A, B], {}, Clock())
    pool.reweigh({"b": 0.0})
    assert taken(pool, 2) == "aa"
    assert isinstance(pool.pick(), Load)
