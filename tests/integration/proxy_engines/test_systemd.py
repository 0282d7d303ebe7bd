"""Units through real `systemctl` and `journalctl` processes, which are stand-ins of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from autotuner.proxy.engines.config import EngineConfig
from autotuner.proxy.ports import EngineFailedError, Fault
from tests.integration.proxy_engines.conftest import CHILD, SETTINGS, House, ask, run
from tests.integration.proxy_engines.units import stand_in_units

pytestmark = pytest.mark.process


@pytest.fixture
def units(house: House, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of units, with the two programs first on PATH."""
    folder = stand_in_units(house.folder, monkeypatch, f"{sys.executable} {CHILD}")
    monkeypatch.setenv("CHILD_PIDS", str(house.folder / "pids"))
    return folder


def _config(house: House, units: Path, **told: Any) -> EngineConfig:
    ports = house.ports if told.get("mode") == "blue_green" else house.ports[:1]
    launcher = {
        "kind": "systemd", "unit": "vllm@{port}.service", "ports": ports,
        "environment_file": f"{units}/vllm@{{port}}.service.env",
    }  # fmt: skip
    return house.config(launcher=launcher, **told)


def _state(units: Path, port: int) -> Path:
    return units / f"vllm@{port}.service.json"


def test_a_change_goes_through_the_environment_file(house: House, units: Path) -> None:
    async def story() -> None:
        async with house.running(_config(house, units)) as engines:
            assert engines.outage() is None
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            written = (units / f"vllm@{house.ports[0]}.service.env").read_text()
            assert 'AUTOTUNER_FLAGS="--gpu-memory-utilization 0.9 --max-num-seqs 128"' in written
            assert await ask(engines, "/health") == 200
        # The unit is systemd's: it runs on, and is adopted with what it was started with.
        async with house.running(_config(house, units)) as engines:
            assert engines.settings()["max_num_seqs"] == 128
            assert (units / "calls").read_text().count("restart") == 2

    run(story())


def test_blue_green_over_two_instances(house: House, units: Path) -> None:
    async def story() -> None:
        async with house.running(_config(house, units, mode="blue_green")) as engines:
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            assert engines.backends()[0].url.endswith(str(house.ports[1]))
            assert json.loads(_state(units, house.ports[0]).read_text())["pid"] == 0

    run(story())


def test_a_start_that_fails_is_told_from_the_journal(house: House, units: Path) -> None:
    async def story() -> None:
        async with house.running(_config(house, units)) as engines:
            with pytest.raises(EngineFailedError) as failed:
                await engines.change({**SETTINGS, "gpu_memory_utilization": 0.1}, house.switch)
            assert failed.value.fault is Fault.START_KV
            assert engines.settings() == SETTINGS
            assert await ask(engines, "/health") == 200

    run(story())


def test_a_restart_by_hand_with_other_flags_is_an_edit(house: House, units: Path) -> None:
    async def story() -> None:
        async with house.running(_config(house, units)) as engines:
            port = house.ports[0]
            (units / f"vllm@{port}.service.env").write_text(
                'AUTOTUNER_FLAGS="--gpu-memory-utilization 0.7 --max-num-seqs 32"\n'
            )
            from autotuner.proxy.engines.launchers.runner import run as call

            await call(["systemctl", "restart", f"vllm@{port}.service"], 30)
            edited = await house.event()
            assert edited.kind == "edited"
            assert engines.settings() == {"max_num_seqs": 32, "gpu_memory_utilization": 0.7}
            assert engines.outage() is None

    run(story())


def test_a_restart_by_hand_with_the_same_flags(house: House, units: Path) -> None:
    async def story() -> None:
        async with house.running(_config(house, units)):
            from autotuner.proxy.engines.launchers.runner import run as call

            await call(["systemctl", "restart", f"vllm@{house.ports[0]}.service"], 30)
            assert (await house.event()).kind == "restarted"

    run(story())


def test_a_death_by_the_kernels_oom_killer(house: House, units: Path) -> None:
    async def story() -> None:
        async with house.running(_config(house, units, healthy_s=0.001)) as engines:
            path = _state(units, house.ports[0])
            path.write_text(json.dumps({**json.loads(path.read_text()), "result": "oom-kill"}))
            await ask(engines, "/do?what=kill")
            died, back = await house.event(), await house.event()
            assert (died.kind, died.fault) == ("died", Fault.KILLED)
            assert "oom-kill" in died.message
            assert back.kind == "restarted"

    run(story())


def test_systemctl_that_is_not_there_is_no_fault_of_the_settings(
    house: House, units: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with house.running(_config(house, units)) as engines:
            monkeypatch.setenv("PATH", "/nowhere")
            with pytest.raises(EngineFailedError) as failed:
                await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            assert not failed.value.fault.of_the_settings

    run(story())
