"""What servers of several kinds and versions say over real HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiohttp import web

from autotuner.proxy.engines.client import CompletionError, HttpClient
from autotuner.proxy.engines.kinds.base import Kind
from autotuner.proxy.engines.kinds.openai import OPENAI
from autotuner.proxy.engines.kinds.sglang import SGLANG
from autotuner.proxy.engines.kinds.vllm import VLLM
from tests.integration.proxy_engines.conftest import run

pytestmark = pytest.mark.process

Answer = Callable[[web.Request], Awaitable[web.Response]]
MODELS = {"data": [{"id": "m", "max_model_len": 2048}]}
METRICS = """# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7e9
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="fp8",num_gpu_blocks="99"} 1.0
"""


@contextlib.asynccontextmanager
async def serving(answers: Mapping[str, Any]) -> AsyncIterator[str]:
    """A server with one answer a path: JSON, text, or (status, JSON)."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer secret":
            return web.Response(status=401)
        told = answers.get(request.path)
        status, body = told if isinstance(told, tuple) else (200 if told is not None else 404, told)
        return (
            web.Response(text=body, status=status)
            if isinstance(body, str)
            else web.json_response(body, status=status)
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def talk(
    kind: Kind, answers: Mapping[str, Any], tell: Callable[[HttpClient, str], Awaitable[None]]
) -> None:
    async def story() -> None:
        client = HttpClient(kind, "secret")
        async with serving(answers) as url:
            await tell(client, url)
        await client.close()

    run(story())


def test_vllm_tells_itself_in_metrics_and_more_in_development_mode() -> None:
    usual: dict[str, Any] = {
        "/v1/models": MODELS, "/version": {"version": "0.33.0"}, "/metrics": METRICS, "/health": "",
    }  # fmt: skip

    async def read(client: HttpClient, url: str) -> None:
        reading = await client.read(url, 30)
        assert (reading.model, reading.max_model_len, reading.version) == ("m", 2048, "0.33.0")
        assert reading.settings == {"block_size": 16, "kv_cache_dtype": "fp8"}
        assert reading.born == 1.7e9
        assert await client.healthy(url, 30)

    async def read_more(client: HttpClient, url: str) -> None:
        reading = await client.read(url, 30)
        assert reading.settings["max_num_seqs"] == 128
        assert reading.settings["block_size"] == 16

    talk(VLLM, usual, read)
    info = {"vllm_config": {"scheduler_config": {"max_num_seqs": 128}}}
    talk(VLLM, {**usual, "/server_info": info}, read_more)


@pytest.mark.parametrize("path", ["/server_info", "/get_server_info"])
def test_sglang_tells_itself_under_its_old_and_its_new_path(path: str) -> None:
    async def read(client: HttpClient, url: str) -> None:
        reading = await client.read(url, 30)
        assert reading.version == "0.5.23"
        assert reading.settings["max_running_requests"] == 48

    info = {"version": "0.5.23", "max_running_requests": 48, "internal_states": [{}]}
    talk(SGLANG, {path: info, "/v1/models": MODELS}, read)


def test_what_is_no_answer_is_left_empty() -> None:
    async def read(client: HttpClient, url: str) -> None:
        reading = await client.read(url, 30)
        assert (reading.model, reading.version, dict(reading.settings)) == ("", "", {})
        assert not await client.healthy(url, 30)
        assert not await client.healthy("http://127.0.0.1:1", 30)

    answers: dict[str, Any] = {
        "/v1/models": "no JSON", "/version": ["x"], "/metrics": "\x00{{", "/health": (503, {}),
    }  # fmt: skip
    talk(OPENAI, answers, read)


def test_a_server_without_a_health_path_is_well_when_it_lists_its_models() -> None:
    async def healthy(client: HttpClient, url: str) -> None:
        assert await client.healthy(url, 30)

    async def unwell(client: HttpClient, url: str) -> None:
        assert not await client.healthy(url, 30)

    talk(OPENAI, {"/v1/models": MODELS}, healthy)
    talk(OPENAI, {"/v1/models": MODELS, "/health": (503, {})}, unwell)
    talk(VLLM, {"/v1/models": MODELS}, unwell)


CHAT = {"choices": [{"message": {"content": "Paris"}}]}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"/v1/completions": {"choices": [{"text": "Paris"}]}}, None),
        ({"/v1/completions": {"choices": [{"text": ""}], "usage": {"completion_tokens": 1}}}, None),
        ({"/v1/chat/completions": CHAT}, None),
        ({"/v1/completions": {"choices": [{"text": ""}]}}, "gave no token"),
        ({"/v1/completions": {"usage": {"completion_tokens": 0}}}, "gave no token"),
        ({"/v1/completions": "nonsense"}, "gave no token"),
        ({"/v1/completions": (500, {"error": "EngineDeadError"})}, "answered 500"),
    ],
)  # fmt: skip
def test_only_tokens_count_as_a_completion(answers: dict[str, Any], said: str | None) -> None:
    async def complete(client: HttpClient, url: str) -> None:
        if said is None:
            await client.complete(url, "m", "The capital", 4, 30)
            return
        with pytest.raises(CompletionError, match=said):
            await client.complete(url, "m", "The capital", 4, 30)

    talk(VLLM, answers, complete)
