"""Changes one at a time, live ones and rebuilds, and what is told meanwhile."""

import asyncio
from typing import Any

import pytest

from autotuner.worker.live_settings import (
    InForce,
    LiveSettings,
    NotAppliedError,
    StaleGenerationError,
)
from autotuner.worker.messages import ApplySettings
from autotuner.worker.settings import InvalidSettingError, Limits, WorkerSettings
from tests.unit.worker_front.fake_links import on_loop

LIMITS = Limits(64, 1000, max_pipeline_parallel=2, max_ranks=4, max_threads=4)


class FakeEngines:
    """Engines that confirm when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ApplySettings]] = []
        self.settings = LiveSettings("boot", InForce(WorkerSettings(), 1, 0.0), self)
        self._done: asyncio.Future[None] | None = None

    async def apply(self, message: ApplySettings) -> None:
        await self._ask("live", message)

    async def rebuild(self, message: ApplySettings) -> None:
        await self._ask("rebuild", message)

    async def _ask(self, kind: str, message: ApplySettings) -> None:
        self.asked.append((kind, message))
        self._done = asyncio.get_running_loop().create_future()
        await self._done

    def confirm(self) -> None:
        message = self.asked[-1][1]
        self.settings.on_in_force(InForce(message.settings, message.generation, 7.0))
        assert self._done is not None
        self._done.set_result(None)

    def fail(self, reason: str) -> None:
        assert self._done is not None
        self._done.set_exception(NotAppliedError(reason))

    async def change(
        self, generation: int = 1, boot_id: str | None = None, **knobs: Any
    ) -> InForce:
        changes = knobs or {"max_num_seqs": 8}
        return await self.settings.change(changes, LIMITS, generation=generation, boot_id=boot_id)


@on_loop
async def test_a_change_counts_once_the_engines_have_confirmed_it() -> None:
    engines = FakeEngines()
    changing = asyncio.ensure_future(engines.change())
    await asyncio.sleep(0)
    assert engines.asked == [("live", ApplySettings(WorkerSettings(max_num_seqs=8), 2))]
    assert engines.settings.in_force.generation == 1
    engines.confirm()
    assert await changing == InForce(WorkerSettings(max_num_seqs=8), 2, 7.0)


@on_loop
async def test_live_and_rebuild_knobs_together_are_one_rebuild() -> None:
    engines = FakeEngines()
    changing = asyncio.ensure_future(engines.change(max_num_seqs=8, data_parallel_size=2))
    await asyncio.sleep(0)
    wanted = WorkerSettings(max_num_seqs=8, data_parallel_size=2)
    assert engines.asked == [("rebuild", ApplySettings(wanted, 2))]
    assert engines.settings.rebuilding == wanted
    engines.confirm()
    assert (await changing).generation == 2
    assert engines.settings.rebuilding is None


@on_loop
async def test_a_rebuild_knob_that_stays_the_same_takes_no_rebuild() -> None:
    engines = FakeEngines()
    changing = asyncio.ensure_future(engines.change(data_parallel_size=1))
    await asyncio.sleep(0)
    assert [kind for kind, _ in engines.asked] == ["live"]
    engines.confirm()
    assert (await changing).generation == 2


@on_loop
async def test_a_rebuild_that_fails_changes_nothing_and_burns_its_number() -> None:
    engines = FakeEngines()
    changing = asyncio.ensure_future(engines.change(num_threads=2))
    await asyncio.sleep(0)
    engines.fail("no such weights")
    with pytest.raises(NotAppliedError, match="no such weights"):
        await changing
    assert (engines.settings.in_force.generation, engines.settings.rebuilding) == (1, None)
    later = asyncio.ensure_future(engines.change())
    await asyncio.sleep(0)
    assert engines.asked[-1][1].generation == 3
    engines.confirm()
    assert (await later).generation == 3


@on_loop
async def test_a_change_during_a_rebuild_waits_and_is_then_stale() -> None:
    engines = FakeEngines()
    both = asyncio.gather(engines.change(num_threads=2), engines.change(), return_exceptions=True)
    await asyncio.sleep(0)
    assert len(engines.asked) == 1
    engines.confirm()
    first, second = await both
    assert isinstance(first, InForce)
    assert isinstance(second, StaleGenerationError)
    assert len(engines.asked) == 1


@on_loop
async def test_a_change_during_a_rebuild_that_fails_comes_to_its_turn() -> None:
    engines = FakeEngines()
    first = asyncio.ensure_future(engines.change(num_threads=2))
    second = asyncio.ensure_future(engines.change())
    await asyncio.sleep(0)
    engines.fail("no such weights")
    with pytest.raises(NotAppliedError):
        await first
    await asyncio.sleep(0)
    engines.confirm()
    assert (await second).generation == 3


@on_loop
async def test_stale_and_invalid_changes_ask_for_nothing() -> None:
    engines = FakeEngines()
    with pytest.raises(StaleGenerationError):
        await engines.change(generation=2)
    with pytest.raises(StaleGenerationError):
        await engines.change(boot_id="another")
    with pytest.raises(InvalidSettingError, match="max_num_seqs=65"):
        await engines.change(max_num_seqs=65)
    with pytest.raises(InvalidSettingError, match="make 8 processes"):
        await engines.change(data_parallel_size=4, tensor_parallel_size=1, pipeline_parallel_size=2)
    assert engines.asked == []
