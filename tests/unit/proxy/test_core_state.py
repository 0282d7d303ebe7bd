"""How settings change, by hand, by a restart, and by what happens to the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from autotuner.fronts.admin import NotChangedError, SettingsChange
from autotuner.fronts.errors import ApiError
from autotuner.proxy.admin import ProxyAdmin
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import Backend, EngineEvent, EngineFailedError, Fault, Value
from autotuner.proxy.state import SettingsState
from autotuner.proxy.traffic import Clocks, Traffic
from tests.unit.proxy.core_engines import FakeEngines


class House:
    def __init__(self, *, drain_s: float = 0.0) -> None:
        self.mono = 0.0
        self.traffic = Traffic(
            ProxyOptions(max_concurrency=8, max_queue=4, drain_s=drain_s),
            (),
            Clocks(lambda: 1000.0, lambda: self.mono),
        )
        self.engines = FakeEngines(self.traffic.hold)
        self.state = SettingsState(self.traffic, self.engines)
        self.admin = ProxyAdmin(self.state, self.traffic, self.engines)
        self.state.begin()

    @property
    def body(self) -> dict[str, Any]:
        return self.admin.settings_body()

    async def put(self, generation: int | None = None, **settings: Any) -> None:
        generation = self.body["generation"] if generation is None else generation
        await self.admin.change(SettingsChange(generation=generation, settings=settings))

    def urls(self) -> list[str]:
        return [backend.url for backend in self.traffic.pool.backends]


def run(test: Callable[[House], Coroutine[None, None, None]], **how: Any) -> None:
    async def whole() -> None:
        await test(House(**how))

    asyncio.run(whole())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def failing(fault: Fault) -> Callable[[Mapping[str, Value]], None]:
    def fail(_: Mapping[str, Value]) -> None:
        raise EngineFailedError(fault, "no room for the KV cache")

    return fail


def test_what_runs_is_told() -> None:
    async def test(house: House) -> None:
        body = house.body
        assert body["settings"] == {"max_num_seqs": 256, "max_concurrency": 8, "max_queue": 4}
        assert body["capabilities"].keys() == body["settings"].keys()
        assert (body["generation"], body["model"], body["rebuilding"]) == (1, "tiny", None)
        assert body["server"] == {"kind": "vllm", "version": "0.33.0"}
        assert (body["restart_s"], body["faults"]) == (None, [])

    run(test)


def test_a_live_knob_acts_at_once_and_restarts_nothing() -> None:
    async def test(house: House) -> None:
        await house.put(max_concurrency=2)
        assert house.traffic.admission.limits == (2, 4)
        assert (house.body["generation"], house.traffic.generation) == (2, 2)
        await house.put()
        assert house.body["generation"] == 3
        assert house.engines.asked == []

    run(test)


def test_a_stale_change_or_a_bad_one_changes_nothing() -> None:
    async def test(house: House) -> None:
        for settings, generation, status in (({}, 7, 409), ({"max_queue": -1}, 1, 422)):
            with pytest.raises(NotChangedError) as caught:
                await house.put(generation, **settings)
            assert caught.value.status == status
        assert house.body["generation"] == 1

    run(test)


def test_a_restart_switches_and_then_it_counts() -> None:
    async def test(house: House) -> None:
        house.engines.gate = asyncio.Event()
        changing = asyncio.create_task(house.put(max_num_seqs=64, max_queue=9))
        await settle()
        assert house.body["rebuilding"] == {**house.body["settings"], "max_num_seqs": 64,
                                            "max_queue": 9}  # fmt: skip
        assert (house.urls(), house.body["generation"]) == (["http://old"], 1)
        house.mono = 41.5
        house.engines.gate.set()
        await changing
        assert house.engines.asked == [{"max_num_seqs": 64}]
        assert (house.urls(), house.body["generation"]) == (["http://new"], 2)
        assert (house.body["settings"]["max_num_seqs"], house.body["rebuilding"]) == (64, None)
        assert (house.body["restart_s"], house.traffic.admission.limits) == (41.5, (8, 9))

    run(test)


def test_the_answer_does_not_wait_for_the_old_servers_requests() -> None:
    async def test(house: House) -> None:
        old = house.traffic.pool.pick()
        assert old is not None
        old.enter()
        await house.put(max_num_seqs=64)
        assert (old.in_flight, house.urls()) == (1, ["http://new"])
        await house.put(max_queue=9)  # a live change need not wait either
        second = asyncio.create_task(house.put(max_num_seqs=32))
        await settle()
        assert len(house.engines.asked) == 1  # at most two servers at a time
        old.leave()
        await second
        assert house.body["settings"]["max_num_seqs"] == 32

    run(test, drain_s=600.0)


def test_changes_come_one_at_a_time() -> None:
    async def test(house: House) -> None:
        house.engines.gate = asyncio.Event()
        first = asyncio.create_task(house.put(max_num_seqs=64))
        await settle()
        second = asyncio.create_task(house.put(max_queue=9))
        await settle()
        house.engines.gate.set()
        await first
        with pytest.raises(NotChangedError) as caught:
            await second
        assert caught.value.status == 409

    run(test)


def test_who_does_not_wait_for_the_answer_ends_nothing() -> None:
    async def test(house: House) -> None:
        house.engines.gate = asyncio.Event()
        changing = asyncio.create_task(house.put(max_num_seqs=64))
        await settle()
        changing.cancel()
        await settle()
        house.engines.gate.set()
        await settle()
        assert house.body["settings"]["max_num_seqs"] == 64

    run(test)


def test_in_place_requests_wait_and_go_on_under_the_new_settings() -> None:
    async def test(house: House) -> None:
        house.engines.in_place, house.engines.gate = True, asyncio.Event()
        changing = asyncio.create_task(house.put(max_num_seqs=64))
        await settle()
        entering = asyncio.create_task(house.traffic.admission.enter())
        await settle()
        assert not entering.done()
        house.engines.gate.set()
        await changing
        await entering
        assert house.traffic.generation == 2

    run(test)


def test_a_failure_by_the_settings_is_their_refusal() -> None:
    async def test(house: House) -> None:
        house.engines.restart = failing(Fault.START_KV)
        with pytest.raises(NotChangedError) as caught:
            await house.put(max_num_seqs=1024)
        assert caught.value.status == 422
        assert caught.value.error == {
            "type": "engine_failed", "fault": "start-kv", "field": None, "value": None,
            "message": "no room for the KV cache",
        }  # fmt: skip
        assert (house.body["settings"]["max_num_seqs"], house.body["generation"]) == (256, 1)
        assert (house.urls(), house.body["rebuilding"]) == (["http://old"], None)
        await house.put(max_queue=5)
        assert house.body["generation"] == 3  # the failed one's number is used up

    run(test)


def test_another_failure_is_not() -> None:
    async def test(house: House) -> None:
        def broken(_: Mapping[str, Value]) -> None:
            raise OSError("no such program")

        for restart in (failing(Fault.PORT), broken):
            house.engines.restart = restart
            with pytest.raises(ApiError) as caught:
                await house.put(max_num_seqs=1024)
            assert (caught.value.status, caught.value.code) == (503, "not_applied")
        assert house.body["generation"] == 1

    run(test)


def test_a_server_that_took_other_values_is_believed() -> None:
    async def test(house: House) -> None:
        async def clamps(settings: Mapping[str, Value], switch: Any) -> None:
            house.engines.values = {"max_num_seqs": 200}
            await switch([Backend("http://new", "new")])

        house.engines.change = clamps  # type: ignore[method-assign]
        await house.put(max_num_seqs=300)
        await settle()
        assert house.body["settings"]["max_num_seqs"] == 200

    run(test)


def test_a_death_is_a_new_boot_with_its_fault_kept() -> None:
    async def test(house: House) -> None:
        boot = house.body["generation"], house.state.boot_id
        life = house.traffic.arrived()
        house.traffic.ended(life, "error")
        house.engines.down = "the server died"
        house.state.on_event(EngineEvent("died", Fault.RUN_MEMORY, "CUDA out of memory"))
        assert house.body["generation"] == boot[0] + 1
        assert house.state.boot_id != boot[1]
        assert house.traffic.exposures.read(0, 10).records == []
        (told,) = house.body["faults"]
        assert (told["seq"], told["fault"], told["at"]) == (1, "run-memory", 1000.0)
        assert told["settings"]["max_num_seqs"] == 256
        with pytest.raises(ApiError, match="died"):
            await house.put(max_queue=9)
        house.engines.down, house.engines.values = None, {"max_num_seqs": 128}
        house.engines.urls = ["http://safe"]
        house.state.on_event(EngineEvent("reverted", None, "the safe settings run"))
        assert (house.body["settings"]["max_num_seqs"], house.body["generation"]) == (128, 3)
        assert (house.urls(), len(house.body["faults"])) == (["http://safe"], 1)

    run(test)


def test_a_persons_change_of_a_knob_is_no_new_boot_and_any_other_edit_is() -> None:
    async def test(house: House) -> None:
        boot = house.state.boot_id
        house.engines.values = {"max_num_seqs": 128}
        house.state.on_event(EngineEvent("edited", None, "set by others"))
        assert (house.body["settings"]["max_num_seqs"], house.body["generation"]) == (128, 2)
        assert house.state.boot_id == boot
        house.state.on_event(EngineEvent("edited", None, "a flag that is no knob"))
        assert house.body["generation"] == 3
        assert house.state.boot_id != boot

    run(test)


def test_a_restart_may_cure_an_outage() -> None:
    async def test(house: House) -> None:
        house.engines.down = "the server died"
        await house.put(max_num_seqs=64)
        assert house.body["settings"]["max_num_seqs"] == 64

    run(test)


def test_a_reload_changes_what_the_file_says_anew_and_no_more() -> None:
    async def test(house: House) -> None:
        await house.put(max_concurrency=2)
        old = house.traffic.options
        house.state.reload(old, ProxyOptions(max_concurrency=8, max_queue=4, usage="leave"))
        assert house.body["generation"] == 2
        house.state.reload(old, ProxyOptions(max_concurrency=8, max_queue=99))
        assert house.body["settings"]["max_concurrency"] == 2  # the tuner's choice stays
        assert house.traffic.admission.limits == (2, 99)
        assert house.body["generation"] == 3

    run(test)


def test_before_the_server_is_known_there_is_nothing_to_change() -> None:
    async def test(house: House) -> None:
        house.state.in_force = None
        with pytest.raises(ApiError, match="starting"):
            house.admin.check_ready()
        with pytest.raises(ApiError, match="starting"):
            await house.put(1, max_queue=9)

    run(test)
