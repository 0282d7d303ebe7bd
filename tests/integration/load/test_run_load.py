"""The open loop against a completion server on a real socket that does what a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from autotuner.domain.errors import ConfigError, TargetUnavailableError
from autotuner.load.plan import PlannedRequest
from autotuner.load.results import Failure, RequestResult
from autotuner.load.runner import LoadOptions, LoadRun, run_load

pytestmark = pytest.mark.process

# What the server does with a request: serve, reject, refuse, hang, break, fail, truncate.
Behaviour = Callable[[dict[str, Any]], str]  # by the request's body


@dataclass
class SseServer:
    """Answers `/v1/completions` token by token; `bodies` holds every request in its order."""

    behaviour: Behaviour = lambda _: "serve"
    bodies: list[dict[str, Any]] = field(default_factory=list)
    gone: int = 0  # clients that went away in mid-answer
    release: asyncio.Event | None = None  # where set, tokens wait for it

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "tiny"}]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.bodies.append(body)
        doing = self.behaviour(body)
        if doing == "reject":
            return web.json_response({"error": {"message": "full"}}, status=503)
        if doing == "refuse":
            return web.json_response({"error": {"message": "bad"}}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self._stream(request, response, body, doing)
        except (ConnectionResetError, asyncio.CancelledError):
            self.gone += 1
            raise
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, body: dict[str, Any], doing: str
    ) -> None:
        count = body["max_tokens"]
        for i in range(count if doing == "serve" else 2):
            if self.release is not None:
                await self.release.wait()
            finish = "length" if i == count - 1 else None
            choice = {"index": 0, "text": f" w{i}", "finish_reason": finish}
            await response.write(_event({"choices": [choice]}))
            await asyncio.sleep(0.002)
        if doing == "hang":
            await asyncio.sleep(30)
        if doing == "break":
            assert request.transport is not None
            request.transport.abort()
            return
        if doing == "fail":
            await response.write(_event({"error": {"message": "engine is gone"}}))
        if doing == "serve":
            usage = {"prompt_tokens": len(body["prompt"].split()), "completion_tokens": count}
            await response.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listens on a free port; gives the address."""
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/completions", self.complete)
        # Cancelled handlers tell which clients went away.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def plan(count: int, every_s: float = 0.01, output_tokens: int = 4) -> tuple[PlannedRequest, ...]:
    return tuple(PlannedRequest(i * every_s, 20 + i, output_tokens) for i in range(count))


def loaded(
    server: SseServer,
    requests: tuple[PlannedRequest, ...],
    max_in_flight: int = 512,
    timeout_s: float = 20.0,
) -> LoadRun:
    async def run() -> LoadRun:
        async with server.running() as url:
            options = LoadOptions(
                url, requests, max_in_flight=max_in_flight, timeout_s=timeout_s, seed=3
            )
            return await run_load(options)

    return asyncio.run(run())


def test_every_request_is_sent_as_planned_and_timed() -> None:
    server = SseServer()
    run = loaded(server, plan(12))
    assert not run.stopped
    assert [r.index for r in run.results] == list(range(12))
    assert all(r.served for r in run.results)
    for result in run.results:
        assert result.output_tokens == 4
        assert result.prompt_tokens == 20 + result.index
        assert len(result.gaps_s) == 3
        assert result.ttft_s is not None
        assert 0 < result.ttft_s <= result.e2el_s
        assert result.tpot_s == pytest.approx(sum(result.gaps_s) / 3)
        assert result.gap_max_s == max(result.gaps_s)


def test_the_body_asks_for_exactly_the_planned_tokens_of_the_servers_model() -> None:
    server = SseServer()
    loaded(server, plan(3, output_tokens=2))
    first = server.bodies[0]
    assert first["model"] == "tiny"
    assert first["max_tokens"] == 2
    assert first["ignore_eos"] is True
    assert first["stream"] is True
    assert first["temperature"] == 0
    assert len({body["prompt"] for body in server.bodies}) == 3


def test_failures_are_told_apart() -> None:
    kinds = ["serve", "reject", "refuse", "break", "fail", "truncate"]
    by_prompt = {20 + i: kind for i, kind in enumerate(kinds)}
    server = SseServer(behaviour=lambda body: by_prompt[len(body["prompt"].split())])
    run = loaded(server, plan(6))
    assert [r.failure for r in run.results] == [
        None,
        Failure.REJECTED,
        Failure.HTTP,
        Failure.BROKEN,
        Failure.STREAM,
        Failure.BROKEN,
    ]
    assert "full" in run.results[1].detail
    assert "engine is gone" in run.results[4].detail
    # What was seen before the end is kept.
    assert run.results[4].ttft_s is not None


def test_a_request_that_takes_too_long_is_given_up() -> None:
    run = loaded(SseServer(behaviour=lambda _: "hang"), plan(2), timeout_s=0.3)
    assert [r.failure for r in run.results] == [Failure.TIMEOUT, Failure.TIMEOUT]


def test_a_server_that_does_not_answer_slows_nothing_down() -> None:
    async def run() -> tuple[int, LoadRun]:
        server = SseServer(release=asyncio.Event())
        async with server.running() as url:
            task = asyncio.create_task(run_load(LoadOptions(url, plan(30, every_s=0.005))))
            while len(server.bodies) < 30:  # ends by the test's timeout if the loop were closed
                await asyncio.sleep(0.01)
            arrived = len(server.bodies)
            assert server.release is not None
            server.release.set()
            return arrived, await task

    arrived, run_ = asyncio.run(run())
    assert arrived == 30
    assert all(r.served for r in run_.results)


def test_more_than_the_client_can_hold_is_counted_not_delayed() -> None:
    run = loaded(SseServer(behaviour=lambda _: "hang"), plan(10), max_in_flight=4, timeout_s=0.5)
    assert Counter(r.failure for r in run.results) == {Failure.TIMEOUT: 4, Failure.OVERLOAD: 6}


def test_stopping_drops_what_is_in_flight_and_sends_no_more() -> None:
    async def run() -> tuple[SseServer, LoadRun]:
        server, stop = SseServer(behaviour=lambda _: "hang"), asyncio.Event()
        async with server.running() as url:
            options = LoadOptions(url, (*plan(3), PlannedRequest(3600.0, 10, 4)))
            task = asyncio.create_task(run_load(options, stop=stop))
            while len(server.bodies) < 3:
                await asyncio.sleep(0.01)
            stop.set()
            found = await task
            while server.gone < 3:
                await asyncio.sleep(0.01)
            return server, found

    server, found = asyncio.run(run())
    assert found.stopped
    assert [r.failure for r in found.results] == [Failure.CANCELLED] * 3
    assert len(server.bodies) == 3


def test_cancelling_the_task_leaves_nothing_behind() -> None:
    async def run() -> int:
        server = SseServer(behaviour=lambda _: "hang")
        async with server.running() as url:
            task = asyncio.create_task(run_load(LoadOptions(url, plan(3))))
            while len(server.bodies) < 3:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while server.gone < 3:
                await asyncio.sleep(0.01)
            return len(asyncio.all_tasks()) - 1

    # What is left is the server's own: its sockets' handlers.
    assert asyncio.run(run()) <= 3


def test_results_are_told_as_they_come_and_a_broken_listener_is_heard() -> None:
    async def run(on_result: object) -> LoadRun:
        async with SseServer().running() as url:
            return await run_load(LoadOptions(url, plan(3)), on_result)  # type: ignore[arg-type]

    seen: list[RequestResult] = []
    asyncio.run(run(seen.append))
    assert len(seen) == 3

    def broken(_: RequestResult) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run(broken))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TargetUnavailableError, match="no answer from"):
        asyncio.run(run_load(LoadOptions(url, plan(1))))
    run = asyncio.run(run_load(LoadOptions(url, plan(2), model="m")))
    assert [r.failure for r in run.results] == [Failure.UNREACHABLE] * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "localhost:8000"}, "url='localhost:8000'"),
        ({"max_in_flight": 0}, "max_in_flight=0"),
        ({"timeout_s": 0.0}, r"timeout_s=0\.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LoadOptions(**{"url": "http://x", "plan": (), **options})  # type: ignore[arg-type]
