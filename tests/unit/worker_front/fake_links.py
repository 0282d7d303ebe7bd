"""A fleet whose engines are fakes: tests say what each engine says, and read what it was told."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotuner.worker.agreement import InForce
from autotuner.worker.engine_client import WARM_UP_ID, Backoff
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.fleet import Fleet, Patience, RebuildOutcome
from autotuner.worker.messages import (
    AddRequest,
    ApplySettings,
    EngineReady,
    FinishReason,
    FromEngine,
    SamplingParams,
    ScoreOutput,
    SettingsApplied,
    StepOutput,
    ToEngine,
    TokenOutput,
)
from autotuner.worker.settings import Limits, WorkerSettings

LIMITS = Limits(max_num_seqs=64, max_model_len=1000, max_ranks=4, max_threads=4)
SOON = 50  # turns of the event loop: more than any chain of callbacks here takes


def step_of(*tokens: TokenOutput, **more: Any) -> StepOutput:
    fields: dict[str, Any] = {
        "at": 1.0,
        "step_s": 0.1,
        "decode_seqs": 1,
        "prefill_tokens": 0,
        "context_tokens": 3,
        "running": 1,
        "waiting": 0,
        "kv_usage": 0.5,
        "generation": 1,
    }
    return StepOutput(tokens=list(tokens), **(fields | more))


@dataclass
class FakeLink:
    """One engine process as its client sees it."""

    options: EngineOptions
    say: Callable[[FromEngine], None]
    die: Callable[[], None]
    sent: list[ToEngine] = field(default_factory=list)
    closed_with_s: float | None = None
    pid: int | None = 1
    exit_code: int | None = 0

    def send(self, message: ToEngine) -> None:
        self.sent.append(message)

    async def close(self, grace_s: float) -> None:
        self.closed_with_s = grace_s

    def load(self, limits: Limits = LIMITS) -> None:
        self.say(EngineReady(limits, "m", "float32", 0.1))

    def warm(self, finish: FinishReason = "length", error: str | None = None) -> None:
        self.say(step_of(TokenOutput(WARM_UP_ID, 1, finish, error=error)))

    def get_ready(self) -> None:
        self.load()
        self.warm()

    def confirm(self, at: float = 7.0) -> None:
        """Applies the last settings that it was told."""
        told = [message for message in self.sent if isinstance(message, ApplySettings)][-1]
        self.say(SettingsApplied(told.settings, told.generation, at))

    def added(self) -> list[str]:
        """The requests that it got, without its warm-up."""
        ids = [m.request_id for m in self.sent if isinstance(m, AddRequest)]
        return [request_id for request_id in ids if request_id != WARM_UP_ID]


@dataclass
class FakeHouse:
    """A fleet, its links in the order of their starts, and what it told its listener."""

    replicas: int = 1
    patience: Patience = field(default_factory=Patience)
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    eager: bool = False  # engines get ready by themselves
    refusing: bool = False  # no process can be started

    def __post_init__(self) -> None:
        self.links: list[FakeLink] = []
        self.steps: list[StepOutput] = []
        self.scores: list[ScoreOutput] = []
        self.lost: list[tuple[str, str]] = []
        self.outage: str | None = "loading"
        self.ready = 0
        self.in_force: InForce | None = None
        self.rebuilt: list[RebuildOutcome] = []
        self.fatal: list[str] = []
        self.limits: Limits | None = None
        self.settings = self.settings.updated({"data_parallel_size": self.replicas}, LIMITS)
        options = EngineOptions(model=Path("m"), settings=self.settings)
        self.fleet = Fleet(
            options, self.connect, self, Backoff(first_s=0.0), self.patience, wall=lambda: 99.0
        )

    def connect(
        self,
        options: EngineOptions,
        on_message: Callable[[FromEngine], None],
        on_closed: Callable[[], None],
    ) -> FakeLink:
        if self.refusing:
            raise OSError("no memory")
        link = FakeLink(options, on_message, on_closed)
        self.links.append(link)
        if self.eager:
            asyncio.get_running_loop().call_soon(link.get_ready)
        return link

    # ---- FleetListener
    def on_step(self, step: StepOutput) -> None:
        self.steps.append(step)

    def on_score(self, output: ScoreOutput) -> None:
        self.scores.append(output)

    def on_requests_lost(self, request_ids: Sequence[str], reason: str) -> None:
        for request_id in request_ids:
            self.lost.append((request_id, reason))
            self.fleet.forget(request_id)

    def on_group(self, told: EngineReady) -> None:
        self.limits = told.limits

    def on_serving(self, replicas: int, outage: str | None) -> None:
        self.ready, self.outage = replicas, outage

    def on_in_force(self, in_force: InForce) -> None:
        self.in_force = in_force

    def on_rebuilt(self, outcome: RebuildOutcome, took_s: float) -> None:
        self.rebuilt.append(outcome)

    def on_fatal(self, reason: str) -> None:
        self.fatal.append(reason)

    # ---- what tests do
    async def begin_rebuild(self, generation: int, **knobs: Any) -> asyncio.Future[None]:
        """A rebuild whose engines have been started; awaiting it is waiting for its end."""
        rebuilding = asyncio.ensure_future(self.fleet.rebuild(self.change(generation, **knobs)))
        await soon()
        return rebuilding

    def is_out(self) -> bool:
        return self.outage is not None

    async def boot(self) -> None:
        self.fleet.start()
        await soon()
        for link in self.links if not self.eager else ():
            link.get_ready()
        await soon()

    def add(self, request_id: str, prompt: list[int] | None = None, max_tokens: int = 10) -> None:
        sampling = SamplingParams(max_tokens=max_tokens)
        self.fleet.add(AddRequest(request_id, prompt or [1, 2, 3], sampling, 0.0))

    def change(self, generation: int, **knobs: Any) -> ApplySettings:
        assert self.in_force is not None
        return ApplySettings(self.in_force.settings.updated(knobs, LIMITS), generation)


async def soon() -> None:
    """Lets everything run that can run now."""
    for _ in range(SOON):
        await asyncio.sleep(0)


def on_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs an async test on an event loop of its own."""

    async def body() -> None:
        await test()

    @functools.wraps(test)
    def run() -> None:
        asyncio.run(body())

    return run
