"""Two replicas behind one front: both serve, and one may die."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.process

Starter = Callable[..., Any]


def ask_at_once(worker: Any, count: int, max_tokens: int) -> list[Any]:
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(worker.complete(max_tokens=max_tokens)))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def metric(worker: Any, name: str) -> float:
    lines = [line for line in worker.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].split()[-1])


def test_both_replicas_serve(start_fake: Starter) -> None:
    worker = start_fake(data_parallel_size=2, step_s=0.01)
    assert len(worker.engine_pids()) == 2
    assert metric(worker, "worker:engine_replicas") == 2
    answers = ask_at_once(worker, 8, max_tokens=20)
    assert [answer.status_code for answer in answers] == [200] * 8
    steps = worker.get("/admin/steps").json()["steps"]
    assert {step["replica"] for step in steps} == {0, 1}
    assert max(step["decode_seqs"] for step in steps) <= 4
    assert metric(worker, "worker:prompt_tokens_total") == 8 * len("hello ")


def test_the_prefix_cache_is_told(start_fake: Starter) -> None:
    worker = start_fake()
    usage = worker.complete("x" * 40, max_tokens=2).json()["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 32}
    assert [e["cached_tokens"] for e in worker.exposures()] == [32]
    assert metric(worker, "worker:prefix_cache_queries_total") == 40
    assert metric(worker, "worker:prefix_cache_hits_total") == 32


def test_one_of_two_killed_costs_only_its_own_requests(start_fake: Starter) -> None:
    worker = start_fake(data_parallel_size=2, step_s=0.02)
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.extend(ask_at_once(worker, 4, 100)))
    asking.start()
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {"1": 4})
    killed = worker.engine_pids()[0]
    os.kill(killed, signal.SIGKILL)
    worker.until(lambda: metric(worker, "worker:engine_replicas") == 1)
    assert worker.ready()
    assert worker.complete(max_tokens=2).status_code == 200
    asking.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
    worker.until(lambda: metric(worker, "worker:engine_replicas") == 2)
    assert killed not in worker.engine_pids()
    assert {a.status_code for a in ask_at_once(worker, 4, 2)} == {200}


def test_a_live_change_while_a_replica_restarts(start_fake: Starter) -> None:
    worker = start_fake(data_parallel_size=2)
    for generation in (1, 2, 3):
        os.kill(worker.engine_pids()[0], signal.SIGKILL)
        worker.until(lambda: metric(worker, "worker:engine_replicas") == 1)
        body = {"generation": generation, "settings": {"max_num_seqs": generation + 1}}
        assert worker.put("/admin/settings", body).json()["generation"] == generation + 1
        worker.until(lambda: metric(worker, "worker:engine_replicas") == 2)
    ask_at_once(worker, 20, max_tokens=10)
    steps = worker.get("/admin/steps").json()["steps"]
    assert {(step["replica"], step["generation"]) for step in steps} == {(0, 4), (1, 4)}
    assert max(step["decode_seqs"] for step in steps) == 4


def test_a_change_waits_for_the_slower_replica(start_fake: Starter) -> None:
    worker = start_fake(data_parallel_size=2, apply_timeout_s=0.3)
    held = worker.engine_pids()[0]
    os.kill(held, signal.SIGSTOP)
    body = {"generation": 1, "settings": {"max_num_seqs": 7}}
    answer = worker.put("/admin/settings", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_applied")
    assert worker.get("/admin/settings").json()["generation"] == 1
    os.kill(held, signal.SIGCONT)
    worker.until(lambda: worker.get("/admin/settings").json()["generation"] == 2)
