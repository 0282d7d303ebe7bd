"""A change of settings with real processes: nothing stays, and a failure brings the old back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from autotuner.proxy.ports import EngineFailedError, Fault
from tests.integration.proxy_engines.conftest import SETTINGS, House, ask, run

pytestmark = pytest.mark.process


def test_it_starts_and_ends_with_all_of_its_processes(house: House) -> None:
    async def story() -> None:
        async with house.running() as engines:
            assert engines.outage() is None
            assert engines.settings() == SETTINGS
            assert engines.server().version == "0.0.1"
            assert engines.server().model == "tiny"
            assert await ask(engines, "/health") == 200
            assert len(house.alive()) == 2
        assert house.alive() == []

    run(story())


def test_in_place_holds_and_leaves_nothing_of_the_old(house: House) -> None:
    async def story() -> None:
        async with house.running() as engines:
            old = house.alive()
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            assert house.story == ["held", f"to {house.ports[0]}, 1 up", "freed"]
            assert not set(old) & set(house.alive())
            assert len(house.alive()) == 2
            assert engines.settings()["max_num_seqs"] == 128
            words = [_words(pid) for pid in house.alive()]
            assert any("--max-num-seqs 128" in line for line in words)

    run(story())


def test_blue_green_has_both_at_the_switch_and_one_after(house: House) -> None:
    async def story() -> None:
        async with house.running(house.config(mode="blue_green")) as engines:
            first, second = house.ports
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            assert house.story == [f"to {second}, 2 up"]
            assert house.alive(first) == []
            await engines.change(SETTINGS, house.switch)
            assert house.story[1] == f"to {first}, 2 up"
            assert house.alive(second) == []

    run(story())


BAD: list[tuple[dict[str, Any], Fault, str]] = [
    ({"max_num_seqs": 13}, Fault.REFUSED, "invalid choice: 13"),
    ({"gpu_memory_utilization": 0.1}, Fault.START_KV, "No available memory for the cache blocks"),
    ({"max_num_seqs": 500}, Fault.RUN_MEMORY, "CUDA out of memory"),
    ({"max_num_seqs": 501}, Fault.KILLED, "SIGKILL"),
    ({"max_num_seqs": 404}, Fault.HUNG, "not ready within 30 s"),
]


@pytest.mark.parametrize("mode", ["in_place", "blue_green"])
@pytest.mark.parametrize(("bad", "fault", "said"), BAD)
def test_bad_settings_are_told_and_the_old_serve(
    house: House, mode: str, bad: dict[str, Any], fault: Fault, said: str
) -> None:
    async def story() -> None:
        hangs = bad.get("max_num_seqs") == 404
        config = house.config(mode=mode)
        async with house.running(config) as engines:
            change = asyncio.create_task(engines.change({**SETTINGS, **bad}, house.switch))
            if hangs:
                await house.until(lambda: len(house.pids()) == 4)
                house.clock.skipped_s += 3600
            with pytest.raises(EngineFailedError) as failed:
                await change
            assert failed.value.fault is fault
            assert said in failed.value.message
            assert engines.settings() == SETTINGS
            assert engines.outage() is None
            assert await ask(engines, "/health") == 200
            assert not [line for line in house.story if line.startswith("to ")]
            assert len(house.alive()) == 2

    run(story())


def test_a_taken_port_is_left_for_another(house: House) -> None:
    async def story() -> None:
        import socket

        with socket.create_server(("127.0.0.1", house.ports[0])):
            async with house.running() as engines:
                assert engines.outage() is None
                assert engines.backends()[0].url != f"http://127.0.0.1:{house.ports[0]}"
                assert await ask(engines, "/health") == 200

    run(story())


def test_a_program_that_is_not_there_is_told(house: House) -> None:
    async def story() -> None:
        config = house.config()
        assert config.launcher is not None
        launcher = config.launcher.model_copy(update={"command": ("no-such-program",)})
        async with house.running(config.model_copy(update={"launcher": launcher})) as engines:
            assert "can't run no-such-program" in str(engines.outage())

    run(story())


def _words(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
