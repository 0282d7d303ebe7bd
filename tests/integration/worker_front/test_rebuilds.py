"""Changes that take new engines: nothing is lost while they come and go."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.worker_front.open_loop import OpenLoop, outcomes_of

pytestmark = pytest.mark.process

Starter = Callable[..., Any]
Running = Callable[[int], bool]


def put(worker: Any, generation: int, **knobs: Any) -> Any:
    return worker.put("/admin/settings", {"generation": generation, "settings": knobs})


def metric(worker: Any, name: str) -> float:
    lines = [line for line in worker.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].split()[-1])


def test_ten_switches_under_load_lose_nothing(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.005)
    with OpenLoop(worker, rate_rps=20.0, max_tokens=30) as load:
        for generation in range(1, 11):
            answer = put(worker, generation, num_threads=1 + generation % 2)
            assert answer.status_code == 200, answer.text
            assert answer.json()["generation"] == generation + 1
    assert load.wrong == []
    assert outcomes_of(worker) == {"length": load.sent}
    assert {e["generation_start"] for e in worker.exposures()} >= set(range(1, 11))
    assert worker.get("/admin/exposures").json()["in_flight"] == {}
    worker.until(lambda: len(worker.engine_pids()) == 1)
    assert metric(worker, 'worker:rebuilds_total{model_name="fake-model",outcome="switched"}') == 10
    assert metric(worker, "worker:rebuild_seconds_count") == 10


def test_one_replica_becomes_two_and_one_again(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.005)
    with OpenLoop(worker, rate_rps=20.0, max_tokens=30) as load:
        for generation, replicas in ((1, 2), (2, 1)):
            answer = put(worker, generation, data_parallel_size=replicas, max_num_seqs=8 * replicas)
            told = answer.json()["settings"]
            assert (told["data_parallel_size"], told["max_num_seqs"]) == (replicas, 8 * replicas)
            worker.until(lambda now=replicas: len(worker.engine_pids()) == now)
            served = len(worker.exposures())
            worker.until(lambda seen=served: len(worker.exposures()) > seen + 5)
    assert load.wrong == []
    assert outcomes_of(worker) == {"length": load.sent}
    steps = worker.steps()
    assert {(s["generation"], s["replica"]) for s in steps} == {(1, 0), (2, 0), (2, 1), (3, 0)}


@pytest.mark.parametrize(
    ("mode", "limit_s", "told"),
    [
        ("failing", 30, "no such weights"),
        ("dying", 30, "ended unexpectedly"),
        ("loading", 1, "not ready within 1 s"),
    ],
)
def test_new_engines_that_fail_leave_the_old_ones(
    start_fake: Starter, mode: str, limit_s: int, told: str
) -> None:
    worker = start_fake(int8=mode, rebuild_timeout_s=limit_s, step_s=0.005)
    before, engines = worker.get("/admin/settings").json(), worker.engine_pids()
    with OpenLoop(worker, rate_rps=20.0, max_tokens=20) as load:
        answer = put(worker, 1, weight_dtype="int8", data_parallel_size=2, max_num_seqs=9)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "not_applied")
    assert told in error["message"]
    after = worker.get("/admin/settings").json()
    assert {**after, "now": 0} == {**before, "now": 0}
    assert (load.wrong, worker.engine_pids()) == ([], engines)
    assert metric(worker, 'worker:rebuilds_total{model_name="fake-model",outcome="failed"}') == 1
    assert put(worker, 1, max_num_seqs=9).json()["generation"] == 3  # 2 is never used again


def test_what_is_being_built_is_told(start_fake: Starter) -> None:
    worker = start_fake(int8="loading", rebuild_timeout_s=3)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(put(worker, 1, weight_dtype="int8")))
    thread.start()
    worker.until(lambda: worker.get("/admin/settings").json()["rebuilding"] is not None)
    told = worker.get("/admin/settings").json()
    assert (told["generation"], told["settings"]["weight_dtype"]) == (1, "float32")
    assert told["rebuilding"] == told["settings"] | {"weight_dtype": "int8"}
    assert worker.complete(max_tokens=2).status_code == 200
    thread.join()
    assert answers[0].status_code == 503
    assert worker.get("/admin/settings").json()["rebuilding"] is None


def test_a_long_answer_outlives_the_switch(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.02)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(worker.complete("abc", max_tokens=150)))
    thread.start()
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {"1": 1})
    assert put(worker, 1, num_threads=2).status_code == 200
    assert worker.complete("xyz", max_tokens=3).json()["choices"][0]["text"] == "xyz"
    assert len(worker.engine_pids()) == 2
    thread.join()
    assert answers[0].json()["choices"][0]["text"] == "abc" * 50
    worker.until(lambda: len(worker.engine_pids()) == 1)
    ends = {
        e["output_tokens"]: (e["generation_start"], e["generation_end"]) for e in worker.exposures()
    }
    assert ends == {3: (2, 2), 150: (1, 2)}


def test_new_engines_may_cure_an_outage(start_fake: Starter) -> None:
    worker = start_fake(mode="ready")
    os.kill(worker.engine_pid, signal.SIGKILL)
    answer = put(worker, 1, num_threads=2)
    assert (answer.status_code, answer.json()["generation"]) == (200, 2)
    worker.until(worker.ready)
    worker.until(lambda: len(worker.engine_pids()) == 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_during_a_rebuild_leaves_nothing(
    start_fake: Starter, running: Running, number: int
) -> None:
    worker = start_fake(int8="loading", drain_s=1)
    thread = threading.Thread(target=_ignoring_errors, args=(worker,))
    thread.start()
    worker.until(lambda: len(worker.engine_pids()) == 2)
    children = worker.child_pids()
    worker.end(number)
    thread.join()
    worker.until(lambda: not any(map(running, children)))


def _ignoring_errors(worker: Any) -> None:
    with pytest.raises(Exception, match=r"."):
        put(worker, 1, weight_dtype="int8").json()["settings"]
