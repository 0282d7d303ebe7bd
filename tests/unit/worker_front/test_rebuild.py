"""Blue/green: a new group is built beside the live one, takes over, and the old one drains."""

import asyncio
from collections.abc import Callable

import pytest

from autotuner.worker.fleet import Patience
from autotuner.worker.live_settings import NotAppliedError
from autotuner.worker.messages import EngineFailed, ScoreRequest, Shutdown
from autotuner.worker.settings import Limits
from tests.unit.worker_front.fake_links import FakeHouse, FakeLink, on_loop, soon, step_of


@on_loop
async def test_new_requests_go_to_the_new_group_and_old_ones_end_in_the_old() -> None:
    house = FakeHouse(patience=Patience(grace_s=3.0))
    await house.boot()
    house.add("old")
    change = house.change(2, data_parallel_size=2, max_num_seqs=8)
    rebuilding = asyncio.ensure_future(house.fleet.rebuild(change))
    await soon()
    old, *new = house.links
    assert [link.options.settings for link in new] == [change.settings] * 2
    assert [(link.options.generation, link.options.replica) for link in new] == [(2, 0), (2, 1)]
    house.add("meanwhile")
    new[0].get_ready()
    house.add("still")
    assert old.added() == ["old", "meanwhile", "still"]
    assert house.in_force is not None
    assert house.in_force.generation == 1
    new[1].get_ready()  # from this moment on, not from when the caller wakes up
    assert (house.in_force.generation, house.ready) == (2, 2)
    house.add("new")
    assert new[0].added() == ["new"]
    await rebuilding
    old.say(step_of(running=3))
    assert house.fleet.running == 3
    assert len(house.steps) == 1
    for request_id in ("old", "meanwhile"):
        house.fleet.forget(request_id)
    await soon()
    assert Shutdown() not in old.sent
    house.fleet.forget("still")
    await soon()
    assert (old.sent[-1], old.closed_with_s) == (Shutdown(), 3.0)
    assert (house.lost, house.rebuilt) == ([], ["switched"])
    assert house.fleet.running == 0


def says(reason: str) -> Callable[[FakeLink], None]:
    return lambda link: link.say(EngineFailed(reason))


def loads_with(limits: Limits) -> Callable[[FakeLink], None]:
    return lambda link: link.load(limits)


def fails_at_warm_up(link: FakeLink) -> None:
    link.load()
    link.warm("error", "NaN in the logits")


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (says("no such weights"), "no such weights"),
        (lambda link: link.die(), "ended unexpectedly"),
        (fails_at_warm_up, "the warm-up request failed: NaN in the logits"),
        (loads_with(Limits(4, 100, max_ranks=4, max_threads=4)), "max_num_seqs=32: give"),
    ],
)
def test_a_group_that_fails_changes_nothing(fail: Callable[[FakeLink], None], told: str) -> None:
    @on_loop
    async def body() -> None:
        house = FakeHouse()
        await house.boot()
        house.add("a")
        rebuilding = asyncio.ensure_future(
            house.fleet.rebuild(house.change(2, data_parallel_size=2))
        )
        await soon()
        old, good, bad = house.links
        good.get_ready()
        fail(bad)
        with pytest.raises(NotAppliedError, match="the new engines failed, the old ones stay") as e:
            await rebuilding
        assert told in str(e.value)
        assert None not in (good.closed_with_s, bad.closed_with_s)
        house.add("b")
        assert (old.added(), old.closed_with_s) == (["a", "b"], None)
        assert house.in_force is not None
        assert (house.in_force.generation, house.outage, house.ready) == (1, None, 1)
        assert (house.rebuilt, house.fleet.pids, house.fatal) == (["failed"], [1], [])

    body()


@on_loop
async def test_a_group_that_takes_too_long_is_given_up() -> None:
    house = FakeHouse(patience=Patience(rebuild_s=0.0))
    await house.boot()
    with pytest.raises(NotAppliedError, match="not ready within 0 s"):
        await house.fleet.rebuild(house.change(2, num_threads=2))
    slow = house.links[1]
    assert slow.closed_with_s == 0.0
    slow.get_ready()  # too late
    assert house.in_force is not None
    assert house.in_force.generation == 1


@on_loop
async def test_a_process_that_can_not_be_started_fails_the_build() -> None:
    house = FakeHouse()
    await house.boot()
    house.refusing = True
    with pytest.raises(NotAppliedError, match="a process can't be started: no memory"):
        await house.fleet.rebuild(house.change(2, num_threads=2))
    house.add("a")
    assert house.links[0].added() == ["a"]


@on_loop
async def test_the_live_group_may_lose_an_engine_meanwhile() -> None:
    house = FakeHouse()
    await house.boot()
    rebuilding = await house.begin_rebuild(2, num_threads=2)
    house.links[0].die()
    assert house.is_out()
    await soon()
    again = house.links[2]
    assert again.options.generation == 1
    house.links[1].get_ready()
    await rebuilding
    await soon()
    assert not house.is_out()
    assert again.closed_with_s == 0.0  # it was still loading for a group that is gone


@on_loop
async def test_a_draining_engine_that_is_lost_stays_so() -> None:
    house = FakeHouse()
    await house.boot()
    house.add("a")
    rebuilding = await house.begin_rebuild(2, num_threads=2)
    house.links[1].get_ready()
    await rebuilding
    house.links[0].die()
    await soon()
    assert house.lost == [("a", "the engine process ended unexpectedly")]
    assert (house.outage, len(house.links)) == (None, 2)
    assert house.fleet.pids == [1]


@on_loop
async def test_the_drain_has_a_limit() -> None:
    house = FakeHouse(patience=Patience(drain_s=0.0))
    await house.boot()
    house.add("a")
    house.fleet.score(ScoreRequest("s", [1, 2], 1))
    rebuilding = await house.begin_rebuild(2, num_threads=2)
    house.links[1].get_ready()
    await rebuilding
    await soon()
    why = "not finished 0 s after a rebuild"
    assert house.lost == [("a", why), ("s", why)]
    assert house.links[0].closed_with_s is not None


@on_loop
async def test_a_third_group_waits_for_the_first_to_drain() -> None:
    house = FakeHouse()
    await house.boot()
    house.add("a")
    first = await house.begin_rebuild(2, num_threads=2)
    house.links[1].get_ready()
    await first
    second = await house.begin_rebuild(3, num_threads=1)
    assert len(house.links) == 2
    house.fleet.forget("a")
    await soon()
    assert len(house.links) == 3
    house.links[2].get_ready()
    await second
    assert house.in_force is not None
    assert house.in_force.generation == 3


@on_loop
async def test_a_drain_that_outlasts_the_patience_refuses_the_next_change() -> None:
    house = FakeHouse(eager=True, patience=Patience(rebuild_s=0.0))
    await house.boot()
    house.add("a")
    await house.fleet.rebuild(house.change(2, num_threads=2))
    with pytest.raises(NotAppliedError, match="still finish 1 requests"):
        await house.fleet.rebuild(house.change(3, num_threads=1))
    assert (house.rebuilt, house.outage) == (["switched", "failed"], None)


@on_loop
async def test_a_live_change_while_old_engines_drain_is_not_for_them() -> None:
    house = FakeHouse()
    await house.boot()
    house.add("a")
    rebuilding = await house.begin_rebuild(2, num_threads=2)
    old, new = house.links
    new.get_ready()
    await rebuilding
    applying = asyncio.ensure_future(house.fleet.apply(house.change(3, max_num_seqs=8)))
    await soon()
    new.confirm()
    await applying
    assert [type(message).__name__ for message in old.sent] == ["AddRequest"] * 2
    old.say(step_of(generation=1))
    assert [step.generation for step in house.steps] == [1]


@on_loop
async def test_the_end_ends_a_group_in_the_making() -> None:
    house = FakeHouse()
    await house.boot()
    house.add("a")
    rebuilding = await house.begin_rebuild(2, num_threads=2)
    await house.fleet.stop()
    with pytest.raises(NotAppliedError, match="being ended"):
        await rebuilding
    assert None not in [link.closed_with_s for link in house.links]


@on_loop
async def test_a_caller_that_is_cancelled_takes_the_new_group_along() -> None:
    house = FakeHouse()
    await house.boot()
    rebuilding = await house.begin_rebuild(2, num_threads=2)
    rebuilding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rebuilding
    assert house.links[1].closed_with_s == 0.0
    assert house.links[0].closed_with_s is None
    assert house.in_force is not None
    assert house.in_force.generation == 1
