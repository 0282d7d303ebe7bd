"""The proxy in front of the bundled worker: the same bytes, and two logs that agree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from autotuner.proxy.app import make_app
from autotuner.proxy.fixed import FixedEngines
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import Backend
from tests.contract.targets.worlds import WorkerWorld
from tests.integration.proxy_core.conftest import Proxied, eventually
from tests.integration.proxy_core.serving import serving

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerWorld]:
    world = WorkerWorld(tmp_path_factory.mktemp("worker"))
    yield world
    world.end()


@pytest.fixture(scope="module")
def proxy(worker: WorkerWorld) -> Iterator[Proxied]:
    app = make_app(ProxyOptions(), lambda _: FixedEngines([Backend(worker._url, "worker")]))
    with serving(app) as url:
        eventually(lambda: requests.get(f"{url}/health", timeout=60).ok)
        yield Proxied(url, app, [])


COMPLETION: dict[str, Any] = {"prompt": "a river, é", "max_tokens": 12, "ignore_eos": True}
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "a river"}], "max_tokens": 12, "ignore_eos": True,
}  # fmt: skip
COUNTED = {"stream": True, "stream_options": {"include_usage": True}}
CALLS = [
    ("/v1/completions", COMPLETION),
    ("/v1/completions", {**COMPLETION, "stream": True}),
    ("/v1/completions", {**COMPLETION, **COUNTED}),
    ("/v1/completions", {**COMPLETION, "stream": True, "prompt": [3, 4, 5]}),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, "stream": True}),
    ("/v1/chat/completions", {**CHAT, **COUNTED}),
    ("/v1/completions", {"prompt": 7}),
]


def without_names(answer: requests.Response) -> tuple[int, bytes, str]:
    """An answer without what differs between two of the same kind: its id and its second."""
    body = re.sub(rb'"id":"[^"]*"|"created":\d+', b"", answer.content)
    return answer.status_code, body, answer.headers["Content-Type"]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_an_answer_is_the_same_with_and_without_it(
    worker: WorkerWorld, proxy: Proxied, path: str, body: dict[str, Any]
) -> None:
    direct = requests.post(worker._url + path, json=body, timeout=60)
    assert without_names(proxy.post(body, path)) == without_names(direct)


def test_two_logs_of_one_request_agree(worker: WorkerWorld, proxy: Proxied) -> None:
    answers = [proxy.post({**COMPLETION, "stream": stream}) for stream in (True, False)]
    ids = [re.findall(r'"id":"([^"]*)"', answer.text)[0] for answer in answers]
    seen = log_of(proxy.url, ids)
    told = log_of(worker._url, ids, Authorization=f"Bearer {WorkerWorld.TOKEN}")
    for request_id in ids:
        mine, its = seen[request_id], told[request_id]
        for name in ("prompt_tokens", "output_tokens", "cached_tokens", "outcome"):
            assert mine[name] == its[name]
        # The request reached the proxy first, and left the worker first.
        assert mine["arrival"] <= its["arrival"]
        assert mine["e2el_s"] >= its["e2el_s"]
        assert mine["ttft_s"] >= its["ttft_s"]


def log_of(url: str, ids: list[str], **headers: str) -> dict[str, dict[str, Any]]:
    told = requests.get(f"{url}/admin/exposures", headers=headers, timeout=60).json()["exposures"]
    found = {one["id"]: one for one in told}
    assert set(ids) <= found.keys()
    return found


def test_feedback_finds_the_answer_by_its_id(proxy: Proxied) -> None:
    request_id = json.loads(proxy.post(COMPLETION).content)["id"]
    score = {"id": request_id, "score": 0.75}
    answer = requests.post(f"{proxy.url}/v1/feedback", json=score, timeout=60)
    assert answer.json() == {**score, "replaced": False}
    (told,) = requests.get(f"{proxy.url}/admin/feedback", timeout=60).json()["feedback"]
    assert (told["id"], told["score"], told["generation_start"]) == (request_id, 0.75, 1)


def test_one_page_of_metrics_has_both(proxy: Proxied) -> None:
    page = requests.get(f"{proxy.url}/metrics", timeout=60).text
    assert re.search(r'^worker:kv_cache_usage_perc\{model_name="tiny"\} ', page, re.MULTILINE)
    assert re.search(r'^proxy:requests_total\{outcome="length"\} ', page, re.MULTILINE)
    assert 'proxy:backend_up{backend="worker"} 1.0' in page
    families = re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE)
    assert len(families) == len(set(families))
    assert not any(name.startswith(("process_", "python_")) for name in families)


def test_admin_is_the_proxys_own_whatever_the_path_looks_like(proxy: Proxied) -> None:
    told = requests.get(f"{proxy.url}/%61dmin/settings", timeout=60).json()
    assert told["settings"].keys() == {"max_concurrency", "max_queue"}
    for path in ("//admin/settings", "/v1/..%2fadmin/settings", "/admin"):
        assert requests.get(proxy.url + path, timeout=60).status_code in (401, 403, 404)
