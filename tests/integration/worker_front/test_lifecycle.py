"""Start, loss and end of the two processes: nothing hangs, and nothing is left behind."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.process

Starter = Callable[..., Any]
Running = Callable[[int], bool]


def test_while_loading_the_worker_is_not_healthy(start_fake: Starter) -> None:
    worker = start_fake(mode="loading", wait_ready=False)
    assert worker.get("/health").status_code == 503
    assert worker.get("/admin/settings").status_code == 503
    refused = worker.complete()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_unavailable")
    assert "Retry-After" in refused.headers
    assert worker.end() == 0


def test_an_engine_that_can_not_load_ends_the_worker_with_its_reason(start_fake: Starter) -> None:
    worker = start_fake(mode="failing", wait_ready=False)
    assert worker.process.wait(timeout=30) == 1
    assert "no such weights" in worker.log.read_text()


def test_start_settings_beyond_the_engine_end_the_worker(start_fake: Starter) -> None:
    worker = start_fake(max_num_seqs=65, wait_ready=False)
    assert worker.process.wait(timeout=30) == 1
    assert "max_num_seqs=65: give a whole number from 1 to 64" in worker.log.read_text()


def test_a_killed_engine_fails_what_runs_and_comes_back_as_it_was(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.02)
    before = worker.put("/admin/settings", {"generation": 1, "settings": {"max_num_seqs": 7}})
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.append(worker.complete(max_tokens=4000)),
    )
    thread.start()
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {"2": 1})
    killed = worker.engine_pid
    os.kill(killed, signal.SIGKILL)
    thread.join()
    assert answers[0].status_code == 503
    assert "ended unexpectedly" in answers[0].json()["error"]["message"]
    worker.until(worker.ready)
    assert worker.engine_pid != killed
    after = worker.get("/admin/settings").json()
    for same in ("boot_id", "generation", "settings"):
        assert after[same] == before.json()[same]
    worker.complete(max_tokens=2)
    assert [e["outcome"] for e in worker.exposures()] == ["error", "length"]
    assert {s["generation"] for s in worker.get("/admin/steps").json()["steps"]} == {2}


def test_an_engine_killed_again_and_again_comes_back(start_fake: Starter) -> None:
    worker = start_fake()
    for _ in range(3):
        os.kill(worker.engine_pid, signal.SIGKILL)
        worker.until(lambda: not worker.ready())
        worker.until(worker.ready)
    assert worker.complete(max_tokens=2).status_code == 200


def test_an_engine_that_hangs_does_not_hold_up_a_change_for_ever(start_fake: Starter) -> None:
    worker = start_fake(apply_timeout_s=0.3)
    engine = worker.engine_pid
    os.kill(engine, signal.SIGSTOP)
    answer = worker.put("/admin/settings", {"generation": 1, "settings": {"max_num_seqs": 7}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_applied")
    assert worker.get("/admin/settings").json()["generation"] == 1
    os.kill(engine, signal.SIGCONT)
    worker.until(lambda: worker.get("/admin/settings").json()["generation"] == 2)
    assert worker.get("/admin/settings").json()["settings"]["max_num_seqs"] == 7


def test_sigterm_lets_running_requests_finish(start_fake: Starter, running: Running) -> None:
    worker = start_fake(step_s=0.02)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(worker.complete(max_tokens=50)))
    thread.start()
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {"1": 1})
    children = worker.child_pids()
    assert worker.end() == 0
    thread.join()
    assert answers[0].json()["usage"]["completion_tokens"] == 50
    worker.until(lambda: not any(map(running, children)))


def test_a_signal_to_the_whole_group_is_as_gentle(start_fake: Starter, running: Running) -> None:
    worker = start_fake(step_s=0.02)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(worker.complete(max_tokens=50)))
    thread.start()
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {"1": 1})
    children = worker.child_pids()
    for pid in children:
        os.kill(pid, signal.SIGTERM)
    assert worker.end(signal.SIGINT) == 0
    thread.join()
    assert answers[0].json()["usage"]["completion_tokens"] == 50
    worker.until(lambda: not any(map(running, children)))


def test_the_drain_has_a_limit(start_fake: Starter, running: Running) -> None:
    worker = start_fake(step_s=0.05, drain_s=1)
    thread = threading.Thread(target=_ignoring_errors, args=(worker,))
    thread.start()
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {"1": 1})
    children = worker.child_pids()
    assert worker.end() == 0
    thread.join()
    worker.until(lambda: not any(map(running, children)))


def _ignoring_errors(worker: Any) -> None:
    with pytest.raises(Exception, match=r"."):
        worker.complete(max_tokens=4000).json()["choices"]


@pytest.mark.parametrize("mode", ["ready", "loading"])
def test_a_killed_front_leaves_no_engine(start_fake: Starter, running: Running, mode: str) -> None:
    worker = start_fake(mode=mode, step_s=0.02, wait_ready=mode == "ready")
    worker.until(lambda: len(worker.child_pids()) == 2)
    children = worker.child_pids()
    worker.process.kill()
    worker.process.wait()
    worker.until(lambda: not any(map(running, children)))


def test_a_killed_front_leaves_no_engine_that_hangs(start_fake: Starter, running: Running) -> None:
    worker = start_fake()
    children = worker.child_pids()
    os.kill(worker.engine_pid, signal.SIGSTOP)
    assert worker.end() == 0
    worker.until(lambda: not any(map(running, children)))
