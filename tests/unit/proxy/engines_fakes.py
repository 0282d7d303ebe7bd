"""A launcher, a client, a clock and a store in memory: a server's life without a process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from autotuner.proxy.engines.changing import Changer
from autotuner.proxy.engines.client import CompletionError, Reading
from autotuner.proxy.engines.flags import read_words
from autotuner.proxy.engines.gates import WarmUp
from autotuner.proxy.engines.kinds.vllm import VLLM
from autotuner.proxy.engines.launchers.port import NOTHING, Exit, LaunchError, Place, State
from autotuner.proxy.engines.manager import EngineManager
from autotuner.proxy.engines.record import Record
from autotuner.proxy.engines.site import Site
from autotuner.proxy.engines.starting import Starter
from autotuner.proxy.engines.watching import Patience, Watcher
from autotuner.proxy.ports import Backend, EngineEvent, Value

FIRST = {"max_num_seqs": 64}
PLACES = (Place("blue", "http://blue", 1), Place("green", "http://green", 2))
OOM = "torch.OutOfMemoryError: CUDA out of memory"


class FakeClock:
    """Waiting takes no time; `at` has what happens once that time has come."""

    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds
        self.on_wait()


class FakeStore:
    def __init__(self) -> None:
        self.record = Record()
        self.full = False

    def load(self) -> Record:
        return self.record

    def save(self, record: Record) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.record = record


@dataclass
class World:
    """Launcher and client in one. `fate` says how a start with some settings goes on:

    "" well; "dies" before /health; "never" no /health; "chokes" dies of the first completion.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeStore = field(default_factory=FakeStore)
    fate: Callable[[Mapping[str, Value]], str] = lambda _settings: ""
    said: list[str] = field(default_factory=lambda: [OOM])
    runs: dict[str, State] = field(default_factory=dict)
    lines: dict[str, Sequence[str]] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    silent: bool = False  # no /health, no completion
    stuck: bool = False  # /health, but no completion
    refuses: int | None = None  # the status with which completions are refused
    unanswered_s: float = 0.0  # of users' requests
    broken: bool = False
    room_for: int = 2
    count: int = 0
    asked: int = 0
    after_asking: Callable[[], None] = lambda: None
    told: dict[str, Value] = field(default_factory=dict)
    events: list[EngineEvent] = field(default_factory=list)

    # the launcher
    def places(self) -> Sequence[Place]:
        return PLACES

    def elsewhere(self, place: Place) -> Place | None:
        return Place(place.name, f"{place.url}-other", place.port + 10)

    async def start(self, place: Place, words: Sequence[str]) -> None:
        self._works()
        self.count += 1
        self.lines[place.name] = words
        self.story.append(f"start {place.name} {self._settings(place)['max_num_seqs']}")
        crowded = len([s for s in self.runs.values() if s.running]) >= self.room_for
        dies = crowded or self._fate(place) == "dies"
        ended = Exit(status=1) if dies else None
        self.runs[place.name] = State(not dies, f"run {self.count}", ended)

    async def stop(self, place: Place) -> None:
        self._works()
        if place.name in self.runs:
            self.story.append(f"stop {place.name}")
        self.runs.pop(place.name, None)

    async def state(self, place: Place) -> State:
        self._works()
        return self.runs.get(place.name, NOTHING)

    async def recall(self, place: Place, identity: str) -> bool:
        return self.runs.get(place.name, NOTHING).identity == identity

    async def log(self, place: Place, identity: str | None) -> Sequence[str]:
        return self.said

    async def command_line(self, place: Place) -> Sequence[str]:
        return self.lines.get(place.name, ())

    # the client
    async def healthy(self, url: str, limit_s: float) -> bool:
        if self.silent:
            return False
        name = url.removeprefix("http://").removesuffix("-other")
        run = self.runs.get(name, NOTHING)
        return run.running and self._fate(PLACES[name == "green"]) != "never"

    async def read(self, url: str, limit_s: float) -> Reading:
        return Reading(model="tiny", version="1", settings=dict(self.told))

    async def complete(
        self, url: str, model: str, prompt: str, max_tokens: int, limit_s: float
    ) -> None:
        place = PLACES[url.startswith("http://green")]
        if self._fate(place) == "chokes":
            self.die(place)
        if self.refuses is not None:
            raise CompletionError("a completion was refused", self.refuses)
        self.asked += 1
        stuck = self.stuck
        if stuck:
            self.clock.time += limit_s
            self.after_asking()
        if self.silent or stuck or not self.runs.get(place.name, NOTHING).running:
            raise CompletionError("a completion broke off")

    async def close(self) -> None:
        self.story.append("close")

    # what a test does to it
    def die(self, place: Place = PLACES[0], ended: Exit | None = None) -> None:
        identity = self.runs[place.name].identity
        self.runs[place.name] = State(False, identity, ended or Exit(status=1))

    def restarted_by_hand(self, words: str, ended: Exit | None = None) -> None:
        self.count += 1
        self.lines["blue"] = words.split()
        self.runs["blue"] = State(True, f"run {self.count}", ended)

    def _works(self) -> None:
        if self.broken:
            raise LaunchError("the keeper does not answer")

    def _settings(self, place: Place) -> dict[str, Value]:
        return read_words(self.lines.get(place.name, ()), VLLM.flags)

    def _fate(self, place: Place) -> str:
        return self.fate(self._settings(place))

    # the proxy around it
    @contextlib.asynccontextmanager
    async def hold(
        self, enough: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        self.story.append("hold")
        if self.unanswered_s and enough is not None:
            await enough()
            self.story.append("enough")
        try:
            yield
        finally:
            self.story.append("free")

    def silent_s(self, backend: Backend) -> float:
        return self.unanswered_s

    async def switch(self, backends: Sequence[Backend]) -> None:
        self.story.append(f"switch {backends[0].url.removeprefix('http://')}")

    def hear(self, event: EngineEvent) -> None:
        self.events.append(event)


@dataclass
class Made:
    """A manager with its parts."""

    manager: EngineManager
    watcher: Watcher
    site: Site


def make(world: World, mode: Literal["in_place", "blue_green"] = "in_place", **told: bool) -> Made:
    """A manager over the world; the time it takes is the world's."""
    flags = {name: VLLM.flags[name] for name in FIRST}
    plan = WarmUp(requests=2, limit_s=60)
    site = Site(VLLM, world.store, world.clock, FIRST, PLACES[0])
    starter = Starter(flags, world, world, world.clock, plan, ready_s=100)
    retry = told.get("retry_in_place", True)
    changer = Changer(site, starter, PLACES, mode, retry_in_place=retry)
    watcher = Watcher(site, starter, world, world, world.clock, Patience(120, 60), world)
    manager = EngineManager(flags, site, starter, changer, watcher, world, world, world.clock)
    return Made(manager, watcher, site)
