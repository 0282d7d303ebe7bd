"""Deaths, silence and the proxy's own end, with real processes and real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autotuner.proxy.ports import Fault
from tests.integration.proxy_engines.conftest import SETTINGS, House, ask, run

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("what", "fault", "said"),
    [
        ("oom", Fault.RUN_MEMORY, "CUDA out of memory"),
        ("kill", Fault.KILLED, "SIGKILL"),
        ("exit", Fault.CRASHED, "ValueError: something of its own"),
    ],
)
def test_a_death_is_told_and_the_server_comes_back(
    house: House, what: str, fault: Fault, said: str
) -> None:
    async def story() -> None:
        async with house.running(house.config(healthy_s=0.001)) as engines:
            old = house.alive()
            await ask(engines, f"/do?what={what}")
            died, back = await house.event(), await house.event()
            assert (died.kind, died.fault) == ("died", fault)
            assert said in died.message
            assert (back.kind, engines.outage()) == ("restarted", None)
            assert not set(old) & set(house.alive())
            assert await ask(engines, "/health") == 200

    run(story())


def test_a_death_under_new_settings_goes_back_to_the_safe_ones(house: House) -> None:
    async def story() -> None:
        async with house.running(house.config(healthy_s=3600)) as engines:
            await house.served_long(SETTINGS)
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            await ask(engines, "/do?what=oom")
            died, back = await house.event(), await house.event()
            assert (died.kind, died.fault) == ("died", Fault.RUN_MEMORY)
            assert (back.kind, engines.settings()) == ("reverted", SETTINGS)

    run(story())


@pytest.mark.parametrize("what", ["hang", "stall"])
def test_a_server_that_stops_answering_is_restarted(house: House, what: str) -> None:
    """It answers nothing at all, or only /health."""

    async def story() -> None:
        async with house.running(house.config(hung_s=1, healthy_s=0.001)) as engines:
            await ask(engines, f"/do?what={what}")
            house.clock.skipped_s += 3600
            house.unanswered_s = 3600 if what == "stall" else 0
            died = await house.event()
            house.unanswered_s = 0
            back = await house.event()
            assert (died.kind, died.fault) == ("died", Fault.HUNG)
            assert ("requests got no byte" in died.message) == (what == "stall")
            assert back.kind == "restarted"
            assert await ask(engines, "/health") == 200

    run(story())


def test_a_change_of_a_server_that_hangs_waits_for_none_of_its_requests(house: House) -> None:
    async def story() -> None:
        async with house.running(house.config(hung_s=1)) as engines:
            await ask(engines, "/do?what=stall")
            house.unanswered_s = 0.5  # not yet a suspect as the change begins
            change = asyncio.create_task(
                engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            )
            await house.until(lambda: house.story == ["waits"])
            house.clock.skipped_s += 3600
            house.unanswered_s = 3600
            await change
            assert (await house.event()).fault is Fault.HUNG
            assert house.story[1:] == ["held", f"to {house.ports[0]}, 1 up", "freed"]
            assert engines.outage() is None

    run(story())


def test_a_killed_guard_takes_the_server_with_it_and_leaves_no_worker(house: House) -> None:
    async def story() -> None:
        async with house.running() as engines:
            server = house.alive()
            os.kill(_guard(house), signal.SIGKILL)
            died = await house.event()
            assert died.fault is Fault.KILLED
            await house.event()
            assert await ask(engines, "/health") == 200
            assert not set(server) & set(house.alive())

    run(story())


PROXY = """
import asyncio, sys
from pathlib import Path
from tests.integration.proxy_engines.conftest import House
house = House(Path(sys.argv[1]), tuple(map(int, sys.argv[2].split(","))))
async def main():
    config = house.config(keep=sys.argv[3] == "keep", mode="blue_green")
    async with house.running(config) as engines:
        print(engines.outage(), flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""


def _proxy(house: House, keep: str) -> subprocess.Popen[str]:
    ports = ",".join(map(str, house.ports))
    process = subprocess.Popen(
        [sys.executable, "-c", PROXY, str(house.folder), ports, keep],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert "None\n" in iter(process.stdout.readline, "")  # after lines of its log
    process.stdout.close()
    return process


def test_a_killed_proxy_leaves_no_process(house: House) -> None:
    process = _proxy(house, "end")
    assert len(house.alive()) == 2
    process.kill()
    process.wait()
    run(house.until(lambda: house.alive() == []))


def test_with_keep_the_next_proxy_finds_the_same_server(house: House) -> None:
    async def story() -> None:
        process = _proxy(house, "keep")
        kept = house.alive()
        process.kill()
        process.wait()
        config = house.config(keep=True, mode="blue_green")
        async with house.running(config) as engines:
            assert engines.outage() is None
            assert house.alive() == kept
            assert await ask(engines, "/health") == 200
        assert house.alive() == kept
        record = house.record()
        # A proxy that died in the middle of a change: another stands beside, and is not needed.
        record["other"] = {**record["active"], "identity": None}
        record["other"]["place"] = {
            "name": str(house.ports[1]), "url": f"http://127.0.0.1:{house.ports[1]}",
            "port": house.ports[1],
        }  # fmt: skip
        house.record_file().write_text(json.dumps(record))
        async with house.running(config) as engines:
            assert house.alive() == kept
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            assert not set(house.alive()) & set(kept)
            assert house.alive(house.ports[1])
        os.kill(_guard(house, 1), signal.SIGTERM)
        await house.until(lambda: house.alive() == [])

    run(story())


def test_a_change_in_place_that_a_crash_cut_off_ends_with_the_old_settings(house: House) -> None:
    async def story() -> None:
        config = house.config(keep=True)
        async with house.running(config) as engines:
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            unknown = house.alive()
        # What is on record when the proxy dies between the start of the new one and its gates.
        record = house.record()
        record["active"]["settings"] = SETTINGS
        record["active"]["identity"] = "1:1"
        record["other"] = {**record["active"], "identity": None, "settings": {"max_num_seqs": 128}}
        house.record_file().write_text(json.dumps(record))
        async with house.running(config) as engines:
            assert engines.settings() == SETTINGS
            assert engines.outage() is None
            assert not set(unknown) & set(house.alive())
            assert len(house.alive()) == 2
        os.kill(_guard(house), signal.SIGTERM)
        await house.until(lambda: house.alive() == [])

    run(story())


def test_cancelling_a_change_leaves_one_server_and_the_watcher_brings_the_old_back(
    house: House,
) -> None:
    async def story() -> None:
        async with house.running() as engines:
            change = asyncio.create_task(
                engines.change({**SETTINGS, "max_num_seqs": 404}, house.switch)
            )
            await house.until(lambda: len(house.pids()) == 4)
            change.cancel()
            with pytest.raises(asyncio.CancelledError):
                await change
            assert (await house.event()).kind == "restarted"
            assert engines.settings() == SETTINGS
            assert await ask(engines, "/health") == 200
            assert len(house.alive()) == 2

    run(story())


def _guard(house: House, port: int = 0) -> int:
    noted = json.loads((house.folder / "state" / f"server-{house.ports[port]}.run").read_text())
    return int(noted["guard"])
