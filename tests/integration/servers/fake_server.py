"""A server that passes for vLLM or SGLang: `python -m tests.integration.servers.fake_server`.

`--kind vllm|sglang`, then the real server's own flags. Its tokens come as fast as its settings and
the number of its requests let them (`fake_engine`); it fails as its scene says (`fake_faults`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.integration.servers.fake_engine import FakeEngine, Running
from tests.integration.servers.fake_faults import AT_START, WHILE_SERVING, leave, scene_at
from tests.integration.servers.fake_flags import VERSIONS, Flags, parsed
from tests.integration.servers.fake_metrics import Book


@dataclass
class FakeServer:
    """The routes of one server; `healthy` is False where it never becomes so."""

    flags: Flags
    healthy: bool = True
    requests: int = 0
    hung: asyncio.Event = field(default_factory=asyncio.Event)
    well: bool = False  # whether one that hangs answers /health

    def __post_init__(self) -> None:
        slower = scene_at(self.flags.scene).slower
        self.engine = FakeEngine(self.flags.max_seqs, self.flags.budget, slower)
        self.book = Book(self.flags.kind, self.flags.model)
        self._ids = itertools.count(1)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._hanging])
        app.router.add_get("/health", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_post("/v1/completions", self.complete)
        app.router.add_post("/v1/chat/completions", self.complete)
        if self.flags.kind == "vllm":
            app.router.add_get("/version", self.version)
        else:
            app.router.add_get("/health_generate", self.health)
            app.router.add_get("/server_info", self.server_info)
            app.router.add_get("/get_server_info", self.server_info)
            app.router.add_get("/model_info", self.model_info)
            app.router.add_get("/get_model_info", self.model_info)
        return app

    @web.middleware
    async def _hanging(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self._look_at_scene()
        if self.hung.is_set() and not (self.well and request.path == "/health"):
            await asyncio.Event().wait()
        answer: web.StreamResponse = await handler(request)
        return answer

    def _look_at_scene(self) -> None:
        """What fails while it serves: at once, in the middle of whatever streams."""
        scene = scene_at(self.flags.scene)
        fault = scene.fault(WHILE_SERVING, self.flags.settings, self.requests)
        if fault in ("hang", "stall"):
            self.well = fault == "stall"
            self.hung.set()
        elif fault is not None:
            leave(self.flags.kind, fault)

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": VERSIONS["vllm"]})

    async def server_info(self, _: web.Request) -> web.Response:
        told: dict[str, Any] = {
            "model_path": self.flags.model,
            "served_model_name": self.flags.model,
        }
        told |= {"version": VERSIONS["sglang"], "host": self.flags.host, "port": self.flags.port}
        return web.json_response({**told, **self.flags.settings, "internal_states": [{}]})

    async def model_info(self, _: web.Request) -> web.Response:
        return web.json_response({"model_path": self.flags.model, "is_generation": True})

    async def models(self, _: web.Request) -> web.Response:
        model: dict[str, Any] = {
            "id": self.flags.model,
            "object": "model",
            "owned_by": self.flags.kind,
        }
        model |= {"created": int(time.time()), "root": self.flags.model, "max_model_len": 2048}
        return web.json_response({"object": "list", "data": [model]})

    async def metrics(self, _: web.Request) -> web.Response:
        if self.flags.kind == "sglang" and not self.flags.settings["enable_metrics"]:
            raise web.HTTPNotFound
        running, waiting = len(self.engine.running), len(self.engine.waiting)
        return web.Response(text=self.book.text(running, waiting, min(1.0, running / 1024)))

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if not self.healthy:
            await asyncio.Event().wait()
        self.requests += 1
        chat = request.path.endswith("chat/completions")
        prompt = body["messages"] if chat else body["prompt"]
        words = len(prompt if isinstance(prompt, list) else str(prompt).split())
        most = body.get("max_tokens") or body.get("max_completion_tokens") or 16
        running = self.engine.add(max(words, 1), int(most))
        answer = Answer(f"{'chatcmpl' if chat else 'cmpl'}-{next(self._ids)}", chat, body)
        try:
            if body.get("stream"):
                return await self._stream(request, running, answer)
            while await self._token(running) is not None:
                pass
            return web.json_response(answer.whole(running, self.flags.model))
        finally:
            running.gone = True

    async def _stream(
        self, request: web.Request, running: Running, answer: Answer
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await stream.prepare(request)
        while await self._token(running) is not None:
            last = running.produced >= running.max_tokens and running.tokens.qsize() <= 1
            await stream.write(answer.event(self.flags.model, "length" if last else None))
        if body_usage := answer.usage_event(running, self.flags.model):
            await stream.write(body_usage)
        await stream.write(b"data: [DONE]\n\n")
        return stream

    async def _token(self, running: Running) -> float | None:
        """The time of the next token, noted in the book; None when there is none any more."""
        at = await running.tokens.get()
        seen = running.seen_at
        if at is None:
            self._finished(running)
        elif seen is None:
            self.book.first.add(at - running.arrived_at)
            self.book.queue.add((running.admitted_at or at) - running.arrived_at)
        else:
            self.book.gap.add(at - seen)
        running.seen_at = at
        return at

    def _finished(self, running: Running) -> None:
        self.book.finished += 1
        self.book.prompt_tokens += running.prompt_tokens
        self.book.output_tokens += running.produced
        self.book.prompt.add(running.prompt_tokens)
        self.book.output.add(running.produced)
        self.book.whole.add(time.monotonic() - running.arrived_at)


@dataclass(frozen=True)
class Answer:
    """OpenAI's bodies for one request."""

    id: str
    chat: bool
    asked: dict[str, Any]

    def event(self, model: str, finish: str | None) -> bytes:
        part: dict[str, Any] = {"delta": {"content": " a"}} if self.chat else {"text": " a"}
        choice = {"index": 0, **part, "finish_reason": finish}
        return self._event(model, {"choices": [choice]})

    def usage_event(self, running: Running, model: str) -> bytes:
        """The last chunk, with the counts; empty where the client did not ask for it."""
        if not (self.asked.get("stream_options") or {}).get("include_usage"):
            return b""
        return self._event(model, {"choices": [], "usage": _usage(running)})

    def whole(self, running: Running, model: str) -> dict[str, Any]:
        text = " a" * running.produced
        part: dict[str, Any] = {"text": text}
        if self.chat:
            part = {"message": {"role": "assistant", "content": text}}
        choice = {"index": 0, **part, "finish_reason": "length"}
        return {"id": self.id, "model": model, "choices": [choice], "usage": _usage(running)}

    def _event(self, model: str, more: dict[str, Any]) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        event = {"id": self.id, "object": kind, "model": model, **more}
        return f"data: {json.dumps(event)}\n\n".encode()


def _usage(running: Running) -> dict[str, int]:
    counts = {"prompt_tokens": running.prompt_tokens, "completion_tokens": running.produced}
    return {**counts, "total_tokens": sum(counts.values())}


async def serve(flags: Flags) -> None:
    scene = scene_at(flags.scene)
    fault = scene.fault(AT_START, flags.settings, 0)
    await asyncio.sleep(scene.start_s)
    if fault == "hang-at-start":
        await asyncio.Event().wait()
    if fault not in (None, "never-healthy"):
        leave(flags.kind, str(fault))
    server = FakeServer(flags, healthy=fault is None)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, flags.host, flags.port).start()
    except OSError:
        told = f"error while attempting to bind on address ('{flags.host}', {flags.port})"
        sys.exit(f"ERROR:    [Errno 98] {told}: address already in use")
    sys.stderr.write(f"{_READY[flags.kind]}\n")
    sys.stderr.flush()
    await server.engine.run()


_READY = {
    "vllm": "(APIServer pid=1) INFO:     Application startup complete.",
    "sglang": "[2026-11-28 14:30:00] The server is fired up and ready to roll!",
}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parsed(sys.argv[1:])))
