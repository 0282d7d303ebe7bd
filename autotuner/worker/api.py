"""The public routes: OpenAI's two completion calls, the model list, health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive

from autotuner.fronts.http_io import CLIENT_CLOSED, ReleasingStream, gone, read_body
from autotuner.worker.answer import Piece
from autotuner.worker.pipeline.digest import HEADER
from autotuner.worker.pipeline.pipeline import CHAT, COMPLETION, Call, Prepared, Received
from autotuner.worker.replies import DONE, EventWriter, Kind, Reply, usage_body
from autotuner.worker.ticket import Ticket
from autotuner.worker.worker import Worker

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def public_routes(worker: Worker) -> APIRouter:
    """The routes that anyone who reaches the worker may call."""
    router = APIRouter()

    @router.post("/v1/completions")
    async def completions(request: Request) -> Response:
        prepared = await _prepare(worker, request, COMPLETION)
        return await _answer(worker, request, prepared, "text_completion")

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        prepared = await _prepare(worker, request, CHAT)
        return await _answer(worker, request, prepared, "chat.completion")

    @router.get("/v1/models")
    async def models() -> Response:
        model = {
            "id": worker.model_name,
            "object": "model",
            "created": int(worker.started_at),
            "owned_by": "autotuner",
            "max_model_len": worker.max_model_len,
        }
        return JSONResponse({"object": "list", "data": [model]})

    @router.get("/health")
    async def health() -> Response:
        outage = worker.front.outage
        if outage is None:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable", "reason": outage}, status_code=503)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(worker.front.metrics.text(), media_type=METRICS_TYPE)

    return router


async def _prepare(worker: Worker, request: Request, call: Call) -> Prepared:
    """A request's life begins before its body is read."""
    arrival = worker.front.clocks.arrival()
    raw = await read_body(request, worker.options.max_body_bytes)
    digests = request.headers.getlist(HEADER)
    received = Received(raw, ", ".join(digests) if digests else None, arrival)
    return await worker.pipeline.run(call, received, worker.max_model_len)


async def _answer(worker: Worker, request: Request, prepared: Prepared, kind: Kind) -> Response:
    ask = prepared.ask
    ticket = worker.front.submit(ask)
    worker.pipeline.waiting.enter(ticket.state)
    reply = Reply(kind, ticket.state.request_id, worker.model_name, int(ask.arrival.wall))
    if prepared.stream:
        writer = EventWriter(reply, include_usage=prepared.include_usage)
        return ReleasingStream(_events(ticket, writer), lambda: _release(worker, ticket))
    try:
        return await _unless_gone(_whole(ticket, reply), request.receive)
    finally:
        _release(worker, ticket)


def _release(worker: Worker, ticket: Ticket) -> None:
    worker.pipeline.waiting.leave(ticket.state)
    worker.front.release(ticket)


async def _events(ticket: Ticket, writer: EventWriter) -> AsyncIterator[bytes]:
    """One event per token; pieces that came while the client was slow leave in one write."""
    while (pieces := await ticket.take())[-1].outcome is None:
        yield b"".join(map(writer.token, pieces))
    *earlier, last = pieces
    yield b"".join(map(writer.token, earlier)) + _tail(ticket, writer, last)


def _tail(ticket: Ticket, writer: EventWriter, last: Piece) -> bytes:
    if last.error is not None:
        return writer.error(last) + DONE
    return writer.token(last) + writer.usage(_usage(ticket)) + DONE


async def _whole(ticket: Ticket, reply: Reply) -> Response:
    pieces = await ticket.whole()
    last = pieces[-1]
    if last.error is not None:
        raise last.error
    assert last.outcome is not None
    text = "".join(piece.text for piece in pieces)
    return JSONResponse(reply.whole(text, last.outcome, _usage(ticket)))


async def _unless_gone(answer: Coroutine[None, None, Response], receive: Receive) -> Response:
    """The answer, or as soon as the client is gone an empty one that nobody reads."""
    answering, leaving = asyncio.create_task(answer), asyncio.create_task(gone(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else Response(status_code=CLIENT_CLOSED)
    finally:
        answering.cancel()
        leaving.cancel()


def _usage(ticket: Ticket) -> dict[str, Any]:
    state = ticket.state
    return usage_body(state.prompt_tokens, state.output_tokens, state.cached_tokens)
