"""Targets of every kind, made alike for one suite of tests: in memory, the worker and the proxy."""

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

import requests

from autotuner.domain.knobs import Value
from autotuner.domain.ports import Target
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
