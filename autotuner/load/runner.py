"""The open loop: every request is sent at its planned time, whatever the server does.

What the client itself can't send (too many in flight) is counted as client overload: slowing
down instead would close the loop and flatter a slow server.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from autotuner.domain.errors import ConfigError
from autotuner.load.client import CompletionClient, Sending, completion_body
from autotuner.load.plan import Plan, PlannedRequest
from autotuner.load.prompts import PromptMaker, TokenizerFile
from autotuner.load.results import Failure, RequestResult

OnResult = Callable[[RequestResult], None]


@dataclass(frozen=True)
class LoadOptions:
    """Where to send a plan, and how.

    `model` None asks the server for its first model. `tokenizer` is the path of the server's
    `tokenizer.json`, for prompts of exact length.
    """

    url: str
    plan: Plan
    model: str | None = None
    seed: int = 0
    max_in_flight: int = 512
    timeout_s: float = 120.0
    tokenizer: Path | None = None
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"url={self.url!r}: give an address such as http://127.0.0.1:8000")
        if self.max_in_flight < 1:
            raise ConfigError(f"max_in_flight={self.max_in_flight}: give at least 1")
        if not self.timeout_s > 0:
            raise ConfigError(f"timeout_s={self.timeout_s}: give a number above 0")


@dataclass(frozen=True)
class LoadRun:
    """What came of a plan: the results in the order of their plan, and how long it took (s).

    `stopped` is True when it was ended before its plan was.
    """

    results: tuple[RequestResult, ...]
    span_s: float
    stopped: bool


async def run_load(
    options: LoadOptions, on_result: OnResult | None = None, stop: asyncio.Event | None = None
) -> LoadRun:
    """Sends the plan and waits for the last answer.

    Once `stop` is set (or the task is cancelled) nothing more is sent and the requests in flight
    are dropped. Raises TargetUnavailableError when the server does not even name its model.
    """
    stop = stop or asyncio.Event()
    encoder = TokenizerFile(options.tokenizer) if options.tokenizer is not None else None
    async with _client(options) as client:
        model = options.model or await client.first_model()
        loop = _OpenLoop(options, client, model, PromptMaker(options.seed, encoder), on_result)
        return await loop.run(stop)


def generate(options: LoadOptions, on_result: OnResult | None = None) -> LoadRun:
    """Blocking `run_load`, for a process of its own: SIGINT and SIGTERM end it cleanly."""
    return asyncio.run(_until_signal(options, on_result))


async def _until_signal(options: LoadOptions, on_result: OnResult | None) -> LoadRun:
    stop = asyncio.Event()
    with _signals_set(stop):
        return await run_load(options, on_result, stop)


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop` inside; outside a main thread there are no signals to take."""
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _client(options: LoadOptions) -> AsyncIterator[CompletionClient]:
    client = CompletionClient(options.url, options.timeout_s, options.api_key)
    try:
        yield client
    finally:
        await client.close()


class _OpenLoop:
    """One run of a plan."""

    def __init__(
        self,
        options: LoadOptions,
        client: CompletionClient,
        model: str,
        prompts: PromptMaker,
        on_result: OnResult | None,
    ) -> None:
        self._options, self._client, self._model = options, client, model
        self._prompts, self._on_result = prompts, on_result
        self._results: list[RequestResult] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None

    async def run(self, stop: asyncio.Event) -> LoadRun:
        started = perf_counter()
        stopping = asyncio.create_task(stop.wait())
        try:
            await self._send_all(started, stopping)
            await self._drain(stopping)
        finally:
            stopping.cancel()
            await self._drop()
        if self._broken is not None:
            raise self._broken
        self._results.sort(key=lambda result: result.index)
        return LoadRun(tuple(self._results), perf_counter() - started, stop.is_set())

    async def _send_all(self, started: float, stopping: asyncio.Task[bool]) -> None:
        for index, planned in enumerate(self._options.plan):
            # Made before its time comes, so that making it delays nothing.
            prompt = self._prompts.text(index, planned.prompt_tokens)
            body = completion_body(self._model, prompt, planned.output_tokens)
            if await _stopped_within(started + planned.at_s - perf_counter(), stopping):
                return
            late_s = max(0.0, perf_counter() - started - planned.at_s)
            self._start(Sending(index, planned, body, late_s))

    def _start(self, sending: Sending) -> None:
        if len(self._in_flight) >= self._options.max_in_flight:
            self._keep(_not_sent(sending.index, sending.planned, sending.late_s))
            return
        task = asyncio.create_task(self._one(sending))
        self._in_flight.add(task)
        task.add_done_callback(self._ended)

    async def _one(self, sending: Sending) -> None:
        self._keep(await self._client.send(sending))

    def _keep(self, result: RequestResult) -> None:
        self._results.append(result)
        if self._on_result is not None:
            self._on_result(result)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled():
            self._broken = self._broken or task.exception()  # on_result's: nothing else raises

    async def _drain(self, stopping: asyncio.Task[bool]) -> None:
        """Waits for what is in flight; each ends by its own timeout at the latest."""
        while self._in_flight and not stopping.done():
            watched: set[asyncio.Task[Any]] = {*self._in_flight, stopping}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)

    async def _drop(self) -> None:
        await asyncio.sleep(0)  # a task cancelled before its first step would leave no result
        pending = list(self._in_flight)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _stopped_within(wait_s: float, stopping: asyncio.Task[bool]) -> bool:
    """Waits until the time has come; True as soon as the load is to stop."""
    if wait_s > 0:
        await asyncio.wait({stopping}, timeout=wait_s)
    else:
        await asyncio.sleep(0)  # behind its plan: the answers must be read all the same
    return stopping.done()


def _not_sent(index: int, planned: PlannedRequest, late_s: float) -> RequestResult:
    return RequestResult(
        index=index,
        at_s=planned.at_s,
        late_s=late_s,
        prompt_tokens=planned.prompt_tokens,
        output_tokens=0,
        failure=Failure.OVERLOAD,
        detail="too many requests in flight in the client: they were not sent",
    )
