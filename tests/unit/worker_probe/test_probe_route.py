"""`POST /admin/probe`, without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry

from autotuner.fronts.errors import ApiError
from autotuner.worker.admin_probe import MAX_BODY_BYTES, probe_routes
from autotuner.worker.messages import ScoreOutput
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.probe.golden_source import GoldenSet
from autotuner.worker.probe.metrics import ProbeMetrics
from autotuner.worker.probe.service import Probe
from autotuner.worker.probe.tokenise import GoldenAnswer


class Golden:
    async def current(self) -> GoldenSet:
        return GoldenSet("two", (GoldenAnswer((1,), (2,), (-0.5,), None, 4),) * 2)


class Model:
    async def score(self, token_ids: list[int], first: int) -> ScoreOutput:
        return ScoreOutput("id", [-1.0], [9])

    async def greedy(self, prompt_token_ids: list[int], max_tokens: int) -> str:
        raise AssertionError("nothing is expected")


async def _guard(request: Request) -> None:
    if request.headers.get("authorization") != "Bearer token":
        raise ApiError(401, "give the token")


async def _told(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), status_code=error.status)


def _post(body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    probe = Probe(Golden(), Model(), lambda: 5, ProbeMetrics(MetricMaker(CollectorRegistry(), "m")))
    app = FastAPI()
    app.include_router(probe_routes(probe, _guard))
    app.add_exception_handler(ApiError, _told)

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
            return await client.post("/admin/probe", content=body, headers=headers)

    reply = asyncio.run(post())
    return reply.status_code, reply.json()


def _post_as_admin(body: bytes) -> tuple[int, dict[str, Any]]:
    return _post(body, authorization="Bearer token")


@pytest.mark.parametrize(
    ("body", "items", "first"),
    [(b"", 2, 0), (b"{}", 2, 0), (b'{"items": 1}', 1, 0), (b'{"items": 2, "first": 5}', 2, 1)],
)
def test_the_reply_has_every_figure(body: bytes, items: int, first: int) -> None:
    status, reply = _post_as_admin(body)
    assert status == 200
    assert reply.pop("seconds") >= 0
    assert reply == {
        "items": items,
        "tokens": items,
        "agreement": 0.0,
        "perplexity": pytest.approx(2.718281828),
        "mean_log_prob_drop": 0.5,
        "accuracy": None,
        "generation": 5,
        "first": first,
        "of": 2,
        "golden": "two",
        "golden_problem": None,
    }


def test_only_admins_may_probe() -> None:
    assert _post(b"")[0] == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"items": 3}', "items"),
        (b'{"items": "1"}', "items"),
        (b'{"item": 1}', "item"),
        (b'{"first": -1}', "first"),
        (b'{"first": true}', "first"),
    ],
)
def test_a_bad_body_is_refused_by_field(body: bytes, field: str) -> None:
    status, reply = _post_as_admin(body)
    assert status == 400
    assert reply["error"]["param"] == field


def test_a_large_body_is_refused() -> None:
    status, _ = _post_as_admin(json.dumps({"items": [1] * MAX_BODY_BYTES}).encode())
    assert status == 413
