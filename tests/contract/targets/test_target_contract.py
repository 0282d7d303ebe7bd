"""One suite for whatever implements `domain.ports.Target`: in memory, the worker and the proxy.

The worker is the real front on a real socket; the engine behind it repeats its prompt. The proxy
stands in front of such a worker. Each is also tried as the replicas of a split target.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest
import requests

from autotuner.domain.errors import (
    SettingsRefusedError,
    StaleGenerationError,
    TargetUnavailableError,
)
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.ports import LiveSettings, Target
from autotuner.domain.telemetry import Exposure, Outcome, StepRecord
from autotuner.proxy.app import make_app
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import EngineKnob, InFlight
from autotuner.targets.capabilities import Capabilities, Capability, Choices, IntRange
from autotuner.targets.memory import MemoryTarget
from autotuner.targets.split import SplitTarget
from autotuner.targets.worker import WorkerTarget
from tests.integration.proxy_core.serving import serving
from tests.unit.proxy.core_engines import FakeEngines

pytestmark = pytest.mark.process

KNOBS: Capabilities = {
    "max_num_seqs": Capability(IntRange(1, 64)),
    "batch_timeout_ms": Capability(IntRange(0, 100)),
    "max_num_batched_tokens": Capability(IntRange(16, 8192)),
    "schedule_policy": Capability(Choices(("fcfs", "length-grouped"))),
    "batch_sizes": Capability(Choices(("exact", "powers-of-two", "multiples-of-8"))),
    "memory_efficient": Capability(Choices((False, True))),
    "attention": Capability(Choices(("full", "sliding_window", "top_k")), changes_answers=True),
    "weight_dtype": Capability(
        Choices(("float32", "bfloat16", "int8")), live=False, changes_answers=True
    ),
    "tensor_parallel_size": Capability(IntRange(1, 2), live=False),
    "pipeline_parallel_size": Capability(IntRange(1, 2), live=False),
    "data_parallel_size": Capability(IntRange(1, 4), live=False),
    "num_threads": Capability(IntRange(1, 4), live=False),
}
# The server's own take a restart; the proxy's are live.
ENGINE_KNOBS = {
    "max_num_seqs": EngineKnob("max_num_seqs", "int", 1, 64),
    "batch_timeout_ms": EngineKnob("batch_timeout_ms", "int", 0, 100),
    "schedule_policy": EngineKnob(
        "schedule_policy", "choice", values=("fcfs", "length-grouped"), changes_answers=True
    ),
}
PROXY_KNOBS: Capabilities = {
    "max_num_seqs": Capability(IntRange(1, 64), live=False),
    "batch_timeout_ms": Capability(IntRange(0, 100), live=False),
    "schedule_policy": Capability(
        Choices(("fcfs", "length-grouped")), live=False, changes_answers=True
    ),
    "max_concurrency": Capability(IntRange(1, 4096)),
    "max_queue": Capability(IntRange(0, 65536)),
}
ENGINE_INITIAL: dict[str, Value] = {
    "max_num_seqs": 32,
    "batch_timeout_ms": 0,
    "schedule_policy": "fcfs",
}
PROXY_INITIAL = {**ENGINE_INITIAL, "max_concurrency": 4096, "max_queue": 256}
INITIAL: dict[str, Value] = {
    "max_num_seqs": 32,
    "batch_timeout_ms": 0,
    "max_num_batched_tokens": 512,
    "schedule_policy": "fcfs",
    "batch_sizes": "exact",
    "memory_efficient": False,
    "attention": "full",
    "weight_dtype": "float32",
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "data_parallel_size": 1,
    "num_threads": 1,
}


class TunedTarget(Target, Protocol):
    def capabilities(self) -> Capabilities: ...


class World(Protocol):
    """A target of some replicas, and what a test does to it from outside."""

    target: TunedTarget
    replicas: int
    knobs: Capabilities
    initial: dict[str, Value]
    tells_steps: bool

    def serve(self, output_tokens: int) -> None:
        """One request comes and is served."""
        ...

    def end(self) -> None:
        """The target stops answering."""
        ...

    def again(self) -> None:
        """The target starts anew, at the same place."""
        ...


def ticking() -> Callable[[], float]:
    ticks = itertools.count(1000)
    return lambda: float(next(ticks))


class MemoryWorld:
    replicas, knobs, initial, tells_steps = 1, KNOBS, INITIAL, True

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._memory = MemoryTarget(INITIAL, KNOBS, self._clock)
        self.target: TunedTarget = self._memory

    def serve(self, output_tokens: int) -> None:
        generation = self._memory.read_settings().generation
        self._memory.add_step(StepRecord(self._clock(), 0.01, 1, 4, 8))
        self._memory.finish(
            Exposure(
                seq=0,
                id="x",
                generation_start=generation,
                generation_end=generation,
                arrival=self._clock(),
                queue_s=0.0,
                ttft_s=0.1,
                tpot_s=0.01 if output_tokens > 1 else None,
                gap_max_s=0.02 if output_tokens > 1 else None,
                e2el_s=0.3,
                prompt_tokens=4,
                output_tokens=output_tokens,
                outcome=Outcome.LENGTH,
            )
        )

    def end(self) -> None:
        self._memory.set_reachable(False)

    def again(self) -> None:
        self._memory.set_reachable(True)
        self._memory.restart(INITIAL)


class WorkerWorld:
    replicas, knobs, initial, tells_steps = 1, KNOBS, INITIAL, True
    TOKEN = "a-token-for-the-contract-suite"
    SCRIPT = Path(__file__).parents[2] / "integration" / "worker_front" / "fake_engine.py"

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tiny"
        self._child: subprocess.Popen[str] | None = None
        self.again()

    def again(self) -> None:
        words = [str(self._folder), "--step-s", "0.001", "--admin-token", self.TOKEN]
        self._child = subprocess.Popen(
            [sys.executable, str(self.SCRIPT), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._child.stdout is not None
        told = json.loads(self._child.stdout.readline())
        self._url = f"http://{told['host']}:{told['port']}"
        while not requests.get(f"{self._url}/health", timeout=10).ok:
            time.sleep(0.02)
        self.target: TunedTarget = WorkerTarget(self._url, self.TOKEN)

    def serve(self, output_tokens: int) -> None:
        body = {
            "prompt": "a river",
            "max_tokens": output_tokens,
            "ignore_eos": True,
            "model": "tiny",
        }
        answer = requests.post(f"{self._url}/v1/completions", json=body, timeout=30)
        assert answer.ok, answer.text

    def end(self) -> None:
        assert self._child is not None
        self._child.terminate()
        self._child.wait(30)
        assert self._child.stdout is not None
        self._child.stdout.close()


class ProxyWorld:
    """A proxy in front of a worker, with restarts that take no time."""

    replicas, knobs, initial, tells_steps = 1, PROXY_KNOBS, PROXY_INITIAL, False

    def __init__(self, folder: Path) -> None:
        self._worker = WorkerWorld(folder)
        self._serving = contextlib.ExitStack()
        self.again()

    def again(self) -> None:
        options = ProxyOptions(admin_token=WorkerWorld.TOKEN)
        self._url = self._serving.enter_context(serving(make_app(options, self._engines)))
        while not requests.get(f"{self._url}/health", timeout=10).ok:
            time.sleep(0.02)
        self.target: TunedTarget = WorkerTarget(self._url, WorkerWorld.TOKEN)

    def _engines(self, in_flight: InFlight) -> FakeEngines:
        values = dict(ENGINE_INITIAL)
        urls = [self._worker._url]
        return FakeEngines(in_flight.hold, ENGINE_KNOBS, urls, values, in_place=True)

    def serve(self, output_tokens: int) -> None:
        body = {"prompt": "a river", "max_tokens": output_tokens, "ignore_eos": True}
        url = f"{self._url}/v1/completions"
        answer = requests.post(url, json={**body, "stream": True}, timeout=30)
        assert answer.ok, answer.text

    def end(self) -> None:
        self._serving.close()

    def close(self) -> None:
        self.end()
        self._worker.end()


class SplitWorld:
    """Two worlds of one kind as one; each request goes to the other one in turn."""

    replicas = 2

    def __init__(self, worlds: Sequence[World], clock: Callable[[], float]) -> None:
        self._worlds, self._clock = worlds, clock
        self.knobs, self.initial = worlds[0].knobs, worlds[0].initial
        self.tells_steps = worlds[0].tells_steps
        self._turns = itertools.cycle(worlds)
        self._join()

    def _join(self) -> None:
        self.target: TunedTarget = SplitTarget([w.target for w in self._worlds], self._clock)

    def serve(self, output_tokens: int) -> None:
        next(self._turns).serve(output_tokens)

    def end(self) -> None:
        for world in self._worlds:
            world.end()

    def again(self) -> None:
        for world in self._worlds:
            world.again()
        self._join()


@contextlib.contextmanager
def made(kind: str, folder: Path) -> Iterator[World]:
    with contextlib.ExitStack() as ends:

        def worker(name: str) -> World:
            (folder / name).mkdir()
            world = WorkerWorld(folder / name)
            ends.callback(world.end)
            return world

        def proxy(name: str) -> World:
            (folder / name).mkdir()
            world = ProxyWorld(folder / name)
            ends.callback(world.close)
            return world

        clock = ticking()
        if kind == "memory":
            yield MemoryWorld(clock)
        elif kind == "worker":
            yield worker("one")
        elif kind == "proxy":
            yield proxy("one")
        elif kind == "split-proxies":
            yield SplitWorld([proxy("one"), proxy("two")], time.monotonic)
        elif kind == "split-memory":
            yield SplitWorld([MemoryWorld(clock), MemoryWorld(clock)], clock)
        else:
            yield SplitWorld([worker("one"), worker("two")], time.monotonic)


KINDS = ("memory", "worker", "proxy", "split-memory", "split-workers", "split-proxies")


@pytest.fixture(scope="module", params=KINDS)
def shared_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with made(request.param, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """A target that others have used before, back at its first settings."""
    applied(shared_world, shared_world.target.read_settings(), **shared_world.initial)
    return shared_world


@pytest.fixture(params=KINDS)
def mortal_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A target of the test's own, which it may end."""
    with made(request.param, tmp_path) as world:
        yield world


def newest(world: World) -> int:
    return world.target.exposures(0).next


def applied(world: World, live: LiveSettings, **changes: Value) -> LiveSettings:
    return world.target.apply(Settings({**live.settings, **changes}), live, "a test")


def test_what_runs_is_read_back(world: World) -> None:
    live = world.target.read_settings()
    assert dict(live.settings) == world.initial
    assert live.generation >= 1
    assert live.boot_id
    assert live.applied_at <= live.now
    assert world.target.read_settings().now >= live.now


def test_capabilities_say_what_each_knob_takes(world: World) -> None:
    assert world.target.capabilities() == world.knobs


def test_applying_raises_the_generation_and_runs(world: World) -> None:
    before = world.target.read_settings()
    now = applied(world, before, max_num_seqs=8, schedule_policy="length-grouped")
    assert now.generation == before.generation + world.replicas
    assert now.boot_id == before.boot_id
    assert now.settings["max_num_seqs"] == 8
    read = world.target.read_settings()
    assert (read.generation, dict(read.settings)) == (now.generation, dict(now.settings))
    assert read.applied_at >= before.applied_at


def test_the_same_settings_are_a_new_generation(world: World) -> None:
    first = world.target.read_settings()
    second = applied(world, first)
    assert second.generation == first.generation + world.replicas
    assert dict(second.settings) == dict(first.settings)


def test_knobs_that_are_not_named_stay(world: World) -> None:
    live = world.target.read_settings()
    now = world.target.apply(Settings({"batch_timeout_ms": 5}), live, "")
    assert dict(now.settings) == {**world.initial, "batch_timeout_ms": 5}


def test_a_stale_generation_changes_nothing(world: World) -> None:
    old = world.target.read_settings()
    now = applied(world, old, max_num_seqs=4)
    with pytest.raises(StaleGenerationError):
        applied(world, old, max_num_seqs=16)
    assert world.target.read_settings().generation == now.generation
    assert world.target.read_settings().settings["max_num_seqs"] == 4


@pytest.mark.parametrize(
    "change",
    [
        {"max_num_seqs": 0},
        {"max_num_seqs": 65},
        {"max_num_seqs": True},
        {"schedule_policy": "random"},
        {"no_such_knob": 1},
    ],
)
def test_a_refused_setting_changes_nothing_and_is_named(
    world: World, change: dict[str, Value]
) -> None:
    live = world.target.read_settings()
    with pytest.raises(SettingsRefusedError, match=next(iter(change))):
        applied(world, live, **change)
    assert world.target.read_settings().generation == live.generation


def test_exposures_are_read_by_cursor(world: World) -> None:
    start = newest(world)
    empty = world.target.exposures(start)
    assert (empty.next, empty.exposures, empty.overrun) == (start, (), False)
    world.serve(3)
    world.serve(1)
    batch = world.target.exposures(start)
    assert [e.seq for e in batch.exposures] == [start + 1, start + 2]
    assert batch.next == start + 2
    assert batch.boot_id == world.target.read_settings().boot_id
    world.serve(2)
    assert [e.output_tokens for e in world.target.exposures(batch.next).exposures] == [2]


def test_an_exposure_tells_what_was_served_and_under_which_generation(world: World) -> None:
    start, generation = newest(world), world.target.read_settings().generation
    world.serve(3)
    applied(world, world.target.read_settings())
    world.serve(1)
    first, second = world.target.exposures(start).exposures
    assert (first.generation_start, first.generation_end) == (generation, generation)
    later = generation + world.replicas
    assert (second.generation_start, second.generation_end) == (later, later)
    assert first.outcome is Outcome.LENGTH
    assert first.served
    assert first.output_tokens == 3
    assert first.prompt_tokens > 0
    assert first.ttft_s is not None
    assert first.tpot_s is not None
    assert first.gap_max_s is not None
    assert (second.tpot_s, second.gap_max_s) == (None, None)
    assert second.arrival > first.arrival


def test_nothing_is_in_flight_when_all_is_served(world: World) -> None:
    world.serve(2)
    assert sum(world.target.exposures(0).in_flight.values()) == 0


def test_steps_are_read_by_cursor(world: World) -> None:
    _, start = world.target.steps(0)
    world.serve(3)
    steps, cursor = world.target.steps(start)
    if world.tells_steps:
        assert cursor > start
        assert sum(step.prefill_tokens for step in steps) > 0
    assert all(step.step_s >= 0 for step in steps)
    again, same = world.target.steps(cursor)
    assert (list(again), same) == ([], cursor)


def test_a_target_that_is_gone_is_unavailable(mortal_world: World) -> None:
    live = mortal_world.target.read_settings()
    mortal_world.end()
    for call in (
        mortal_world.target.read_settings,
        mortal_world.target.capabilities,
        lambda: mortal_world.target.exposures(0),
        lambda: mortal_world.target.steps(0),
        lambda: applied(mortal_world, live),
    ):
        with pytest.raises(TargetUnavailableError):
            call()


def test_a_restart_is_a_new_boot_with_an_empty_log(mortal_world: World) -> None:
    old = mortal_world.target.read_settings()
    mortal_world.serve(1)
    mortal_world.end()
    mortal_world.again()
    new = mortal_world.target.read_settings()
    assert new.boot_id != old.boot_id
    assert new.generation == mortal_world.replicas
    assert (mortal_world.target.exposures(0).exposures, newest(mortal_world)) == ((), 0)
    with pytest.raises(StaleGenerationError):
        applied(mortal_world, old)
