"""What OpenAI's own client and a bare HTTP client get from the public routes."""

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.process

Starter = Callable[..., Any]


def client_of(worker: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{worker.url}/v1", api_key="none", max_retries=0)


def samples_of(worker: Any) -> dict[tuple[str, str], float]:
    """(name, label value or "") to value; histograms by their _count and _sum."""
    found = {}
    for family in text_string_to_metric_families(worker.get("/metrics").text):
        for sample in family.samples:
            own = [v for k, v in sample.labels.items() if k not in ("model_name", "le")]
            found[sample.name, "".join(own)] = sample.value
    return found


def test_completions_streamed_and_whole_are_the_same(start_fake: Starter) -> None:
    worker = start_fake()
    client = client_of(worker)
    prompt = "h€llo 😀 "
    whole = client.completions.create(model="fake-model", prompt=prompt, max_tokens=20)
    assert whole.choices[0].text == "h€llo 😀 h€llo"
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (13, 20)
    chunks = list(
        client.completions.create(
            model="fake-model",
            prompt=prompt,
            max_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert len(chunks) == 20 + 1
    assert chunks[-1].usage == whole.usage


def test_chat_streamed_and_whole_are_the_same(start_fake: Starter) -> None:
    client = client_of(start_fake())
    turns: Any = [
        {"role": "system", "content": "be "},
        {"role": "user", "content": [{"type": "text", "text": "kind"}]},
    ]
    whole = client.chat.completions.create(model="fake-model", messages=turns, max_tokens=9)
    assert whole.choices[0].message.content == "be kindbe"
    chunks = list(
        client.chat.completions.create(
            model="fake-model", messages=turns, max_completion_tokens=9, stream=True
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "be kindbe"
    assert [c.choices[0].finish_reason for c in chunks] == [None] * 8 + ["length"]


def test_answers_end_at_stop_strings_and_at_the_end_token(start_fake: Starter) -> None:
    worker = start_fake()
    client = client_of(worker)
    cut = client.completions.create(
        model="fake-model", prompt="abcdef", max_tokens=500, stop=["dea", "fab"]
    )
    assert (cut.choices[0].text, cut.choices[0].finish_reason) == ("abcde", "stop")
    ended = client.completions.create(model="fake-model", prompt="ab<|end|>", max_tokens=500)
    assert (ended.choices[0].text, ended.choices[0].finish_reason) == ("ab", "stop")
    kept = client.completions.create(
        model="fake-model", prompt="ab<|end|>", max_tokens=5, extra_body={"ignore_eos": True}
    )
    assert (kept.choices[0].text, kept.choices[0].finish_reason) == ("abab", "length")
    assert [e["outcome"] for e in worker.exposures()] == ["stop", "stop", "length"]
    assert worker.get("/admin/exposures").json()["in_flight"] == {}


def test_the_model_is_listed(start_fake: Starter) -> None:
    client = client_of(start_fake())
    assert [model.id for model in client.models.list()] == ["fake-model"]
    with pytest.raises(openai.NotFoundError, match="give 'fake-model'"):
        client.completions.create(model="other", prompt="x")


def test_bad_requests_are_told_in_openais_shape(start_fake: Starter) -> None:
    worker = start_fake()
    client = client_of(worker)
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="fake-model", prompt="x", n=3)
    assert (caught.value.param, caught.value.code) == ("n", "invalid_value")
    with pytest.raises(openai.BadRequestError, match="the context has 4096"):
        client.completions.create(model="fake-model", prompt="x", max_tokens=4096)
    with pytest.raises(openai.BadRequestError, match="no tools"):
        client.chat.completions.create(
            model="fake-model",
            messages=[{"role": "tool", "content": "x", "tool_call_id": "1"}],
        )
    broken = requests.post(f"{worker.url}/v1/completions", data=b"{nope", timeout=10)
    too_large = worker.complete("x" * 200_000)
    unknown = worker.get("/v2/nothing")
    wrong_method = worker.get("/v1/completions")
    for answer, status in ((broken, 400), (too_large, 413), (unknown, 404), (wrong_method, 405)):
        assert answer.status_code == status
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert worker.exposures() == []


def test_a_body_without_a_length_is_limited_too(start_fake: Starter) -> None:
    worker = start_fake()
    chunks = (b"x" * 10_000 for _ in range(30))
    try:
        answer = requests.post(f"{worker.url}/v1/completions", data=chunks, timeout=10)
    except requests.ConnectionError:
        pass  # the worker closed the connection while the body was still being sent
    else:
        assert answer.status_code == 413
    assert worker.ready()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_place(start_fake: Starter, stream: bool) -> None:
    worker = start_fake(step_s=0.02, max_num_seqs=1)
    body = json.dumps({"prompt": "abc", "max_tokens": 4000, "stream": stream}).encode()
    host, port = worker.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        worker.until(lambda: samples_of(worker)["worker:num_requests_running", ""] == 1)
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {})
    (exposure,) = worker.exposures()
    assert exposure["outcome"] == "abort"
    assert worker.complete("abc", max_tokens=3).json()["choices"][0]["text"] == "abc"


def test_a_full_queue_answers_503_and_is_counted(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.01, max_num_seqs=1, max_queue=1)
    waiting = [
        threading.Thread(target=worker.complete, kwargs={"max_tokens": 100}) for _ in range(2)
    ]
    waiting[0].start()
    worker.until(lambda: samples_of(worker)["worker:num_requests_running", ""] == 1)
    waiting[1].start()
    worker.until(lambda: samples_of(worker)["worker:num_requests_waiting", ""] == 1)
    refused = worker.complete()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json()["error"]["code"] == "overloaded"
    for thread in waiting:
        thread.join()
    assert [e["outcome"] for e in worker.exposures()] == ["rejected", "length", "length"]
    assert samples_of(worker)["worker:requests_total", "rejected"] == 1


def test_a_request_beyond_its_time_is_ended(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.02, request_timeout_s=0.3)
    answer = worker.complete(max_tokens=4000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    with pytest.raises(openai.APIError, match="not finished within"):
        list(
            client_of(worker).completions.create(
                model="fake-model", prompt="x", max_tokens=4000, stream=True
            )
        )
    assert [e["outcome"] for e in worker.exposures()] == ["error", "error"]


def test_metrics_agree_with_what_was_sent(start_fake: Starter) -> None:
    worker = start_fake()
    for tokens in (1, 4, 10):
        worker.complete("hello", max_tokens=tokens)
    worker.complete("hi<|end|>", max_tokens=50)
    worker.complete("hi", max_tokens=0)
    samples = samples_of(worker)
    exposures = worker.exposures()
    assert samples["worker:prompt_tokens_total", ""] == 3 * 5 + 3
    assert samples["worker:generation_tokens_total", ""] == 1 + 4 + 10 + 3
    assert samples["worker:request_generation_tokens_sum", ""] == 1 + 4 + 10 + 3
    assert samples["worker:request_success_total", "length"] == 3
    assert samples["worker:request_success_total", "stop"] == 1
    assert samples["worker:requests_total", "abort"] == 0
    assert samples["worker:time_to_first_token_seconds_count", ""] == 4
    assert samples["worker:inter_token_latency_seconds_count", ""] == 3 + 9 + 2
    assert samples["worker:request_max_gap_seconds_count", ""] == 3
    assert samples["worker:e2e_request_latency_seconds_sum", ""] == pytest.approx(
        sum(e["e2el_s"] for e in exposures)
    )
    steps = worker.get("/admin/steps").json()["steps"]
    assert samples["worker:step_prefill_tokens_total", ""] == 3 * 5 + 3
    assert samples["worker:step_decode_seqs_total", ""] == sum(s["decode_seqs"] for s in steps)
    assert sum(s["prefill_tokens"] for s in steps) == 3 * 5 + 3
    assert samples["worker:setting", "max_num_seqs"] == 32
    assert samples["worker:settings_info", "fullexactfcfsfloat32base"] == 1
