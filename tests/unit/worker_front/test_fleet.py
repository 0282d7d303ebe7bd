"""The life of groups: boot, loss, restart, live changes on several replicas, the end."""

import asyncio

import pytest

from autotuner.worker.engine_client import WARM_UP_ID
from autotuner.worker.fleet import Patience
from autotuner.worker.live_settings import NotAppliedError
from autotuner.worker.messages import (
    AbortRequest,
    AddRequest,
    ApplySettings,
    EngineFailed,
    ScoreOutput,
    ScoreRequest,
    Shutdown,
    TokenOutput,
)
from autotuner.worker.settings import Limits, WorkerSettings
from tests.unit.worker_front.fake_links import FakeHouse, on_loop, soon, step_of


@on_loop
async def test_it_serves_once_every_replica_is_loaded_and_warm() -> None:
    house = FakeHouse(replicas=2)
    house.fleet.start()
    await soon()
    first, second = house.links
    assert [link.options.replica for link in house.links] == [0, 1]
    first.get_ready()
    second.load()
    await soon()
    assert (house.in_force, house.outage) == (None, "loading")
    second.warm()
    assert house.in_force is not None
    assert (house.in_force.generation, house.in_force.applied_at) == (1, 99.0)
    assert (house.outage, house.ready) == (None, 2)
    assert house.steps == []  # nobody sees the warm-up


@on_loop
async def test_the_warm_up_fits_the_shortest_context() -> None:
    house = FakeHouse()
    house.fleet.start()
    await soon()
    house.links[0].load(Limits(max_num_seqs=64, max_model_len=2, max_ranks=4, max_threads=4))
    (request,) = house.links[0].sent
    assert isinstance(request, AddRequest)
    assert (request.request_id, len(request.prompt_token_ids)) == (WARM_UP_ID, 1)
    assert request.sampling.max_tokens == 1


@on_loop
async def test_a_boot_that_fails_is_fatal_and_leaves_nothing() -> None:
    house = FakeHouse(replicas=2)
    house.fleet.start()
    await soon()
    house.links[0].get_ready()
    house.links[1].say(EngineFailed("no such weights"))
    await soon()
    assert house.fatal == ["no such weights"]
    assert all(link.closed_with_s is not None for link in house.links)
    assert house.fleet.pids == []


@on_loop
async def test_settings_beyond_the_engine_are_fatal_at_the_start() -> None:
    house = FakeHouse(settings=WorkerSettings(max_num_seqs=60))
    house.fleet.start()
    await soon()
    house.links[0].load(Limits(max_num_seqs=59, max_model_len=100))
    await soon()
    assert house.fatal == ["max_num_seqs=60: give a whole number from 1 to 59"]


@on_loop
async def test_steps_add_up_over_replicas() -> None:
    house = FakeHouse(replicas=2)
    await house.boot()
    house.links[0].say(step_of(running=3, kv_usage=0.5))
    assert (house.fleet.running, house.fleet.kv_usage) == (3, 0.25)
    house.links[1].say(step_of(running=2, kv_usage=0.1))
    assert (house.fleet.running, house.fleet.kv_usage) == (5, 0.3)
    assert len(house.steps) == 2


@on_loop
async def test_one_of_two_lost_costs_only_its_own_requests() -> None:
    house = FakeHouse(replicas=2)
    await house.boot()
    house.add("a")
    house.add("b")
    house.links[0].die()
    assert [(request, "restarted" in why) for request, why in house.lost] == [("a", True)]
    assert (house.outage, house.ready) == (None, 1)
    house.add("c")
    assert house.links[1].added() == ["b", "c"]
    await soon()
    again = house.links[2]
    assert (again.options.replica, again.options.generation) == (0, 1)
    again.get_ready()
    assert house.ready == 2
    house.add("d")
    assert again.added() == ["d"]


@on_loop
async def test_without_a_ready_replica_there_is_an_outage_until_one_is() -> None:
    house = FakeHouse()
    await house.boot()
    house.links[0].die()
    assert house.outage == "the engine process ended unexpectedly; it is being restarted"
    await soon()
    house.links[1].say(EngineFailed("out of memory"))  # the restart fails as well
    assert house.outage == "out of memory; it is being restarted"
    await soon()
    house.links[2].get_ready()
    assert not house.is_out()
    assert (house.ready, house.fatal) == (1, [])


@on_loop
async def test_a_live_change_counts_when_all_replicas_have_confirmed() -> None:
    house = FakeHouse(replicas=2)
    await house.boot()
    change = house.change(2, max_num_seqs=8)
    applying = asyncio.ensure_future(house.fleet.apply(change))
    await soon()
    house.links[0].confirm(at=11.0)
    await soon()
    assert not applying.done()
    assert house.in_force is not None
    assert house.in_force.generation == 1
    house.links[1].confirm(at=12.0)
    await applying
    assert (house.in_force.settings, house.in_force.generation) == (change.settings, 2)
    assert house.in_force.applied_at == 12.0


@on_loop
async def test_a_live_change_does_not_wait_for_a_replica_that_restarts() -> None:
    house = FakeHouse(replicas=2)
    await house.boot()
    house.links[1].die()
    await soon()
    starting = house.links[2]  # with generation 1, before the change
    applying = asyncio.ensure_future(house.fleet.apply(house.change(2, max_num_seqs=8)))
    await soon()
    house.links[0].confirm()
    await applying
    starting.get_ready()
    assert isinstance(starting.sent[-1], ApplySettings)
    assert starting.sent[-1].generation == 2  # before any request
    starting.confirm()
    assert house.in_force is not None
    assert house.in_force.generation == 2


@on_loop
async def test_a_replica_lost_in_a_change_starts_with_what_came_of_it() -> None:
    house = FakeHouse(replicas=2)
    await house.boot()
    applying = asyncio.ensure_future(house.fleet.apply(house.change(2, max_num_seqs=8)))
    await soon()
    house.links[0].confirm()
    house.links[1].die()
    await applying
    await soon()
    assert house.links[2].options.generation == 2
    assert house.links[2].options.settings.max_num_seqs == 8


@on_loop
async def test_a_change_that_costs_all_engines_is_not_applied() -> None:
    house = FakeHouse()
    await house.boot()
    applying = asyncio.ensure_future(house.fleet.apply(house.change(2, max_num_seqs=8)))
    await soon()
    house.links[0].die()
    with pytest.raises(NotAppliedError, match="ended unexpectedly"):
        await applying
    await soon()
    again = house.links[1]
    assert again.options.generation == 1
    again.get_ready()
    assert not any(isinstance(message, ApplySettings) for message in again.sent)


@on_loop
async def test_an_unconfirmed_change_may_still_come_to_act() -> None:
    house = FakeHouse(patience=Patience(apply_s=0.0))
    await house.boot()
    with pytest.raises(NotAppliedError, match="generation 2 is not confirmed after 0 s"):
        await house.fleet.apply(house.change(2, max_num_seqs=8))
    assert house.in_force is not None
    assert house.in_force.generation == 1
    house.links[0].confirm()
    assert house.in_force.generation == 2


@on_loop
async def test_an_abort_goes_where_the_request_is() -> None:
    house = FakeHouse(replicas=2)
    await house.boot()
    house.add("a")
    house.add("b")
    house.fleet.abort("b")
    house.fleet.forget("b")
    house.fleet.abort("b")  # it is forgotten: nobody is told
    assert AbortRequest("b") not in house.links[0].sent
    assert house.links[1].sent.count(AbortRequest("b")) == 1


@on_loop
async def test_a_text_is_scored_by_the_least_loaded_replica() -> None:
    house = FakeHouse(replicas=2)
    await house.boot()
    house.add("a")
    house.fleet.score(ScoreRequest("s", [1, 2, 3], 1))
    assert house.links[1].sent[-1] == ScoreRequest("s", [1, 2, 3], 1)
    house.links[1].say(ScoreOutput("s", [-0.1, -0.2], [2, 3]))
    assert [output.request_id for output in house.scores] == ["s"]


@on_loop
async def test_the_end_ends_every_engine() -> None:
    house = FakeHouse(replicas=2, patience=Patience(grace_s=3.0))
    await house.boot()
    house.links[1].die()
    await soon()
    await house.fleet.stop()
    ready, lost, loading = house.links
    assert (ready.sent[-1], ready.closed_with_s) == (Shutdown(), 3.0)
    assert loading.closed_with_s == 0.0
    assert lost.closed_with_s is not None
    await soon()
    assert len(house.links) == 3
    ready.say(step_of(TokenOutput("a", 1)))  # its last words
    assert house.steps == []
