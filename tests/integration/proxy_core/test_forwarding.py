"""What passes through the proxy and what it makes of it, with servers that behave oddly."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from autotuner.proxy.ports import Backend
from tests.integration.proxy_core.conftest import PATIENCE_S, Proxied, eventually
from tests.integration.proxy_core.serving import Talk, event, usage_event

pytestmark = pytest.mark.process

Make = Callable[..., Proxied]
STREAM = {"prompt": "abcd", "stream": True}
DONE = b"data: [DONE]\n\n"


def streaming(*chunks: bytes) -> Callable[[Talk], Any]:
    async def script(talk: Talk) -> None:
        await talk.stream()
        for chunk in chunks:
            await talk.chunk(chunk)
        await talk.finish()

    return script


def test_any_call_passes_as_it_is(made: Make) -> None:
    async def echo(talk: Talk) -> None:
        headers = {"x_told": "yes", "content_type": "text/odd"}
        if talk.asked.method == "HEAD":
            await talk.head(207, content_length="99")
            return
        await talk.whole(talk.asked.body or b"nothing", 207, **headers)

    proxy = made(echo)
    path = "/odd/../%2e%2e//a%20b%2F?q=1&q=%26"
    client = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=60)
    client.request("PUT", path, b"\x00body", {"X-Mine": "1"})
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (207, b"\x00body")
    assert (answer.headers["X-Told"], answer.headers["Content-Type"]) == ("yes", "text/odd")
    client.close()
    (asked,) = proxy.server.asked
    assert (asked.method, asked.target, asked.headers["x-mine"]) == ("PUT", path, "1")
    assert asked.headers["x-forwarded-for"] == "127.0.0.1"
    head = requests.head(f"{proxy.url}/v1/models", timeout=60)
    assert (head.status_code, head.headers["Content-Length"]) == (207, "99")
    assert proxy.exposures(0) == []


def test_a_stream_reads_as_if_nothing_had_been_added(made: Make) -> None:
    sent = [
        b": ping\n\n",
        event("a", usage=None) + event("b", usage=None)[:20],
        event("b", usage=None)[20:],
        event("", usage=None, finish_reason="stop"),
        usage_event(4, 9),
        DONE,
    ]
    proxy = made(streaming(*sent))
    read = proxy.post(STREAM)
    plain = [b": ping\n\n", event("a"), event("b"), event("", finish_reason="stop"), DONE]
    assert read.content == b"".join(plain)
    assert proxy.server.asked[0].json()["stream_options"] == {"include_usage": True}
    (told,) = proxy.exposures(1)
    assert (told["id"], told["outcome"]) == ("cmpl-1", "stop")
    assert (told["prompt_tokens"], told["output_tokens"]) == (4, 9)
    assert told["tpot_s"] == pytest.approx(told["gap_max_s"] / 8)  # one gap, nine tokens


def test_who_asks_for_counts_gets_them(made: Make) -> None:
    sent = event("a", usage=None), event("b", usage=None, finish_reason="length"), usage_event(4, 2)
    proxy = made(streaming(*sent, DONE))
    asking = {**STREAM, "stream_options": {"include_usage": True}}
    assert proxy.post(asking).content == b"".join(sent) + DONE
    assert proxy.server.asked[0].json() == asking
    assert proxy.exposures(1)[0]["output_tokens"] == 2


def test_left_alone_events_are_counted_and_prompts_estimated(made: Make) -> None:
    proxy = made(streaming(event("a"), event("b", finish_reason="stop"), DONE), usage="leave")
    assert proxy.post(STREAM).content == event("a") + event("b", finish_reason="stop") + DONE
    assert proxy.server.asked[0].json() == STREAM
    (told,) = proxy.exposures(1)
    assert (told["output_tokens"], told["prompt_tokens"]) == (2, 1)  # four characters
    page = requests.get(f"{proxy.url}/metrics", timeout=60).text
    assert "proxy:prompt_tokens_estimated_requests_total 1.0" in page
    assert "proxy:generation_tokens_total 2.0" in page


def test_chunks_leave_before_the_next_one_comes(made: Make) -> None:
    seen = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def script(talk: Talk) -> None:
        loops.append(asyncio.get_running_loop())
        await talk.stream()
        await talk.chunk(event("first"))
        await seen.wait()
        await talk.chunk(event("second", finish_reason="stop") + DONE)
        await talk.finish()

    proxy = made(script)
    answer = proxy.post(STREAM, stream=True)
    chunks = answer.iter_content(None)
    assert b"first" in next(chunks)
    loops[0].call_soon_threadsafe(seen.set)
    assert b"second" in b"".join(chunks)


def test_any_byte_of_the_server_ends_its_silence(made: Make) -> None:
    gate = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def script(talk: Talk) -> None:
        loops.append(asyncio.get_running_loop())
        await talk.stream()
        await talk.chunk(event("first"))
        await gate.wait()
        await talk.chunk(event("second"))
        await asyncio.Event().wait()

    proxy = made(script)
    traffic = proxy.app._traffic
    [server] = traffic.pool.backends
    assert traffic.silent_s(server) == 0.0
    chunks = proxy.post(STREAM, stream=True).iter_content(None)
    assert b"first" in next(chunks)
    asked = time.monotonic()
    assert traffic.silent_s(server) > 0.0
    loops[0].call_soon_threadsafe(gate.set)
    assert b"second" in next(chunks)
    silent_s = traffic.silent_s(server)
    assert time.monotonic() - silent_s >= asked  # it began after the first chunk had been read


def test_a_stream_that_breaks_off_is_cut_and_an_error(made: Make) -> None:
    async def script(talk: Talk) -> None:
        await talk.stream()
        await talk.chunk(event("a"))

    proxy = made(script)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        proxy.post(STREAM)
    (told,) = proxy.exposures(1)
    assert (told["outcome"], told["output_tokens"]) == ("error", 1)


def test_a_stream_that_ends_without_a_reason_is_an_error(made: Make) -> None:
    proxy = made(streaming(event("a")))
    assert proxy.post(STREAM).content == event("a")
    assert proxy.exposures(1)[0]["outcome"] == "error"


def test_a_client_that_leaves_ends_the_request_at_the_server(made: Make) -> None:
    async def script(talk: Talk) -> None:
        await talk.stream()
        await talk.chunk(event("a"))
        await asyncio.sleep(PATIENCE_S)

    proxy = made(script)
    answer = proxy.post(STREAM, stream=True)
    next(answer.iter_content(None))
    answer.close()
    assert proxy.server.lost.wait(PATIENCE_S)
    (told,) = proxy.exposures(1)
    assert (told["outcome"], told["output_tokens"]) == ("abort", 1)


def test_a_client_that_leaves_at_the_last_event_was_served(made: Make) -> None:
    async def script(talk: Talk) -> None:
        await talk.stream()
        await talk.chunk(event("a", finish_reason="stop") + usage_event(4, 3) + DONE)
        await asyncio.sleep(PATIENCE_S)

    proxy = made(script)
    answer = proxy.post(STREAM, stream=True)
    assert b"DONE" in next(answer.iter_content(None))
    answer.close()
    (told,) = proxy.exposures(1)
    assert (told["outcome"], told["output_tokens"]) == ("stop", 3)


@pytest.mark.parametrize(
    ("status", "outcomes"),
    [(400, []), (404, []), (422, []), (429, ["rejected"]), (503, ["rejected"]), (500, ["error"])],
)
def test_a_refusal_passes_and_counts_by_whose_fault_it_is(
    made: Make, status: int, outcomes: list[str]
) -> None:
    async def script(talk: Talk) -> None:
        await talk.whole({"error": {"message": "no"}}, status, retry_after="7")

    proxy = made(script)
    answer = proxy.post(STREAM)
    assert (answer.status_code, answer.json()) == (status, {"error": {"message": "no"}})
    assert answer.headers["Retry-After"] == "7"
    assert [told["outcome"] for told in proxy.exposures(len(outcomes))] == outcomes


def test_an_answer_in_one_piece(made: Make) -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 9,
             "prompt_tokens_details": {"cached_tokens": 3}}  # fmt: skip
    whole = {"id": "chatcmpl-7", "choices": [{"finish_reason": "length"}], "usage": usage}

    async def script(talk: Talk) -> None:
        await talk.whole(whole)

    proxy = made(script)
    answer = proxy.post({"messages": []}, "/v1/chat/completions")
    assert answer.content == json.dumps(whole).encode()
    (told,) = proxy.exposures(1)
    assert (told["id"], told["outcome"], told["output_tokens"]) == ("chatcmpl-7", "length", 9)
    assert (told["cached_tokens"], told["tpot_s"], told["gap_max_s"]) == (3, None, None)
    assert told["ttft_s"] == pytest.approx(told["e2el_s"], abs=0.5)


def test_no_server_there_is_a_rejection(made: Make) -> None:
    proxy = made(streaming(), backend_rest_s=0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = f"http://127.0.0.1:{taken.getsockname()[1]}"
    proxy.app._engines.replace([Backend(gone, "gone")])  # type: ignore[attr-defined]
    proxy.app.reload(proxy.app._traffic.options)
    answer = proxy.post(STREAM)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["error"]["code"] == "engine_unavailable"
    assert proxy.exposures(1)[0]["outcome"] == "rejected"
    assert 'proxy:backend_up{backend="gone"} 0.0' in requests.get(
        f"{proxy.url}/metrics", timeout=60
    ).text  # fmt: skip


def test_a_connection_that_breaks_before_the_head_is_not_tried_again(made: Make) -> None:
    async def script(talk: Talk) -> None:
        talk.writer.close()

    proxy = made(script, script)
    answer = proxy.post(STREAM)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "broken_off")
    assert sum(len(server.asked) for server in proxy.behind) == 1
    assert proxy.exposures(1)[0]["outcome"] == "error"


def test_too_long_is_an_error(made: Make) -> None:
    async def script(_: Talk) -> None:
        await asyncio.sleep(PATIENCE_S)

    proxy = made(script, request_timeout_s=0.2)
    answer = proxy.post(STREAM)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    assert proxy.server.lost.wait(PATIENCE_S)
    assert proxy.exposures(1)[0]["outcome"] == "error"


def test_too_large_is_refused_and_no_exposure(made: Make) -> None:
    proxy = made(streaming(), max_body_bytes=10)
    assert proxy.post({"prompt": "x" * 100}).status_code == 413
    chunked = requests.post(f"{proxy.url}/v1/completions", data=iter([b"x" * 100]), timeout=60)
    assert chunked.status_code == 413
    assert (proxy.exposures(0), proxy.server.asked) == ([], [])


def test_requests_beyond_the_cap_wait_and_beyond_the_queue_are_rejected(made: Make) -> None:
    go = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def script(talk: Talk) -> None:
        loops.append(asyncio.get_running_loop())
        await talk.stream()
        await talk.chunk(event("a"))
        await go.wait()
        await talk.chunk(event("b", finish_reason="stop") + DONE)
        await talk.finish()

    proxy = made(script, max_concurrency=1, max_queue=1)
    first = proxy.post(STREAM, stream=True)

    def waiting() -> bool:
        page = requests.get(f"{proxy.url}/metrics", timeout=60).text
        return "proxy:num_requests_waiting 1.0" in page

    answers: list[bytes] = []
    second = threading.Thread(target=lambda: answers.append(proxy.post(STREAM).content))
    second.start()
    eventually(waiting)
    refused = proxy.post(STREAM)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert [asked.method for asked in proxy.server.asked].count("POST") == 1
    loops[0].call_soon_threadsafe(go.set)
    assert DONE in first.content
    second.join(PATIENCE_S)
    assert DONE in answers[0]
    told = proxy.exposures(3)
    assert [one["outcome"] for one in told] == ["rejected", "stop", "stop"]
    assert told[2]["queue_s"] > told[1]["queue_s"]
    assert told[2]["ttft_s"] > told[2]["queue_s"]
