"""The request pipeline and feedback as clients and operators meet them, over real HTTP."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.process

Starter = Callable[..., Any]
TOKEN = "a-token-that-is-long-enough"


def metric(worker: Any, name: str, *labels: str) -> float:
    """The one series of this name whose labels hold all of these texts."""
    text = worker.get("/metrics").text
    lines = re.findall(rf"^worker:{name}{{([^}}]*)}} (\S+)$", text, re.MULTILINE)
    (value,) = (float(v) for found, v in lines if all(label in found for label in labels))
    return value


def post_raw(worker: Any, raw: bytes, digest: str) -> requests.Response:
    return requests.post(
        f"{worker.url}/v1/completions", data=raw, headers={"Content-Digest": digest}, timeout=30
    )


def digest_of(raw: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(raw).digest()).decode()}:"


def test_a_body_must_be_what_its_digest_says(start_fake: Starter) -> None:
    worker = start_fake()
    raw = json.dumps({"prompt": "hello", "max_tokens": 3}).encode()
    right = post_raw(worker, raw, f"md5=:AAAA:, {digest_of(raw)}")
    assert (right.status_code, right.json()["choices"][0]["text"]) == (200, "hel")
    wrong = post_raw(worker, raw, digest_of(raw + b" "))
    error = wrong.json()["error"]
    assert (wrong.status_code, error["param"]) == (400, "Content-Digest")
    assert (error["type"], error["code"]) == ("invalid_request_error", "digest_mismatch")
    malformed = post_raw(worker, raw, "sha-256=abc")
    assert (malformed.status_code, malformed.json()["error"]["param"]) == (400, "Content-Digest")
    assert metric(worker, "pipeline_failures_total", 'stage="validate"') == 2
    assert metric(worker, "pipeline_stage_seconds_count", 'stage="validate"') == 3
    assert metric(worker, "pipeline_stage_seconds_count", 'stage="assemble"') == 1


def test_texts_are_cleaned_and_token_ids_are_not(start_fake: Starter) -> None:
    worker = start_fake()
    text = worker.complete(prompt="e\u0301\x00\n ", max_tokens=4).json()
    assert (text["choices"][0]["text"], text["usage"]["prompt_tokens"]) == ("é\n ", 4)
    half = requests.post(
        f"{worker.url}/v1/completions",
        data=rb'{"prompt": "ab\ud83d", "max_tokens": 2}',
        timeout=30,
    )
    assert half.json()["choices"][0]["text"] == "ab"
    turns = [{"role": "user", "content": "a\x00b"}]
    chat = worker.post("/v1/chat/completions", {"messages": turns, "max_tokens": 2}).json()
    assert chat["choices"][0]["message"]["content"] == "ab"
    ids = worker.complete(prompt=[0, 1, 2], max_tokens=1).json()
    assert ids["usage"]["prompt_tokens"] == 3


def test_texts_that_come_again_are_found_in_the_cache(start_fake: Starter) -> None:
    worker = start_fake()
    for prompt in ("one", "two", "one", "one", "two"):
        assert worker.complete(prompt=prompt, max_tokens=3).json()["choices"][0]["text"] == prompt
    assert metric(worker, "tokenizer_cache_queries_total") == 5
    assert metric(worker, "tokenizer_cache_hits_total") == 3
    assert metric(worker, "tokenizer_cache_entries") == 2
    assert metric(worker, "tokenizer_cache_tokens") == 6


def test_a_long_text_is_answered_like_a_short_one(start_fake: Starter) -> None:
    worker = start_fake()
    long = "e\u0301\x00" * 7000
    refused = worker.complete(prompt=long, max_tokens=1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (
        400,
        "context_length_exceeded",
    )
    assert "14000 tokens" in refused.json()["error"]["message"]
    assert metric(worker, "pipeline_failures_total", 'stage="assemble"') == 1


def test_features_are_read_by_cursor(start_fake: Starter) -> None:
    worker = start_fake()
    worker.complete(prompt="x" * 100, max_tokens=16, temperature=0)
    worker.complete(prompt="x" * 5, max_tokens=16, stream=True)
    page = worker.get("/admin/features").json()
    assert (page["count"], page["next"], page["overrun"]) == (2, 2, False)
    rows = [{page["columns"][i] for i in row["indices"]} for row in page["rows"]]
    assert {"stream=no", "drawing=greedy", "prompt_tokens=64..127"} <= rows[0]
    assert {"stream=yes", "drawing=sampled", "prompt_tokens=4..7"} <= rows[1]
    mean = dict(zip(page["columns"], page["mean"], strict=True))
    assert (mean["stream=yes"], mean["endpoint=completions"]) == (0.5, 1.0)
    assert page["boot_id"] == worker.get("/admin/settings").json()["boot_id"]
    assert [row["seq"] for row in worker.get("/admin/features?after=1").json()["rows"]] == [2]


def test_padding_ratios_tell_what_grouping_would_save(start_fake: Starter) -> None:
    worker = start_fake()
    worker.complete(prompt="x" * 100, max_tokens=1)
    for grouping in ("none", "length"):
        label = f'grouping="{grouping}"'
        assert metric(worker, "padding_ratio_count", label) == 1
        assert metric(worker, "padding_ratio_bucket", label, 'le="1.0"') == 1


def test_a_score_for_an_answer(start_fake: Starter) -> None:
    worker = start_fake()
    request_id = worker.complete(max_tokens=2).json()["id"]
    comment = "a private remark"
    scored = worker.post("/v1/feedback", {"id": request_id, "score": 0.8, "comment": comment})
    assert scored.json() == {"id": request_id, "score": 0.8, "replaced": False}
    again = worker.post("/v1/feedback", {"id": request_id, "score": False})
    assert again.json() == {"id": request_id, "score": 0.0, "replaced": True}
    page = worker.get("/admin/feedback").json()
    (record,) = page["feedback"]
    assert (record["id"], record["score"], record["comment_chars"]) == (request_id, 0.0, 0)
    assert (record["generation_start"], record["generation_end"], record["seq"]) == (1, 1, 2)
    assert worker.get(f"/admin/feedback?after={page['next']}").json()["feedback"] == []
    assert metric(worker, "feedback_total") == 1
    assert metric(worker, "feedback_score_sum") == pytest.approx(0.8)
    assert comment not in worker.log.read_text()


def test_bad_feedback_is_named_and_not_kept(start_fake: Starter) -> None:
    worker = start_fake()
    request_id = worker.complete(max_tokens=2).json()["id"]
    for score in (1.5, -0.1, "0.5", None, [1], float("nan")):
        raw = json.dumps({"id": request_id, "score": score})
        answer = requests.post(f"{worker.url}/v1/feedback", data=raw, timeout=30)
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "score")
    unknown = worker.post("/v1/feedback", {"id": "cmpl-unknown", "score": 1})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_request")
    long = worker.post("/v1/feedback", {"id": "x", "score": 1, "comment": "x" * 1001})
    assert (long.status_code, long.json()["error"]["param"]) == (422, "comment")
    misspelt = worker.post("/v1/feedback", {"id": "x", "score": 1, "coment": "x"})
    assert (misspelt.status_code, misspelt.json()["error"]["param"]) == (422, "coment")
    assert worker.post("/v1/feedback", [1]).status_code == 400
    assert worker.get("/admin/feedback").json()["feedback"] == []


def test_the_logs_are_for_whoever_may_call_the_admin_api(start_fake: Starter) -> None:
    worker = start_fake(admin_token=TOKEN)
    for path in ("/admin/features", "/admin/feedback"):
        assert worker.get(path).status_code == 401
        assert worker.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
