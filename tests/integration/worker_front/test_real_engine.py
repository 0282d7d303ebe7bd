"""The whole worker, front and engine, with the packaged model."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest

pytestmark = [pytest.mark.process, pytest.mark.model]

Starter = Callable[..., Any]
Running = Callable[[int], bool]
SMALL = ("--kv-cache-gib=0.05", "--max-model-len=512", "--max-num-seqs=4")
QUESTION: Any = [{"role": "user", "content": "Say hello."}]


def test_the_model_answers_the_same_streamed_and_whole(start_real: Starter) -> None:
    worker = start_real(*SMALL)
    client = openai.OpenAI(base_url=f"{worker.url}/v1", api_key="none", max_retries=0)
    model = client.models.list().data[0].id
    whole = client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_tokens=12
    )
    assert whole.usage is not None
    assert whole.choices[0].message.content
    chunks = list(
        client.chat.completions.create(
            model=model, messages=QUESTION, temperature=0, max_tokens=12, stream=True
        )
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert streamed == whole.choices[0].message.content
    assert len(chunks) == whole.usage.completion_tokens
    assert [e["output_tokens"] for e in worker.exposures()] == [len(chunks)] * 2


def test_settings_change_while_the_model_answers(start_real: Starter) -> None:
    worker = start_real(*SMALL)
    fields = {"max_tokens": 60, "ignore_eos": True, "temperature": 0}
    threads = [
        threading.Thread(target=worker.complete, args=("Once upon",), kwargs=fields)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {"1": 3})
    body = {"generation": 1, "settings": {"max_num_seqs": 2, "max_num_batched_tokens": 64}}
    answer = worker.put("/admin/settings", body).json()
    assert (answer["generation"], answer["settings"]["max_num_seqs"]) == (2, 2)
    for thread in threads:
        thread.join()
    assert [e["output_tokens"] for e in worker.exposures()] == [60] * 3
    assert {e["generation_end"] for e in worker.exposures()} == {2}
    steps = worker.get("/admin/steps").json()["steps"]
    assert {step["generation"] for step in steps} == {1, 2}


def test_a_killed_engine_comes_back_and_a_killed_front_leaves_nothing(
    start_real: Starter, running: Running
) -> None:
    worker = start_real(*SMALL)
    os.kill(worker.engine_pid, signal.SIGKILL)
    worker.until(lambda: not worker.ready())
    worker.until(worker.ready, within_s=60.0)
    assert worker.complete("Once", max_tokens=2).status_code == 200
    children = worker.child_pids()
    worker.process.kill()
    worker.process.wait()
    worker.until(lambda: not any(map(running, children)))


def test_a_taken_port_is_told(start_real: Starter) -> None:
    port = start_real(*SMALL, wait_ready=False).url.rsplit(":", 1)[1]
    worker = start_real(f"--port={port}", wait_ready=False)
    assert worker.process.returncode == 2
    assert "Address already in use" in worker.log.read_text()


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--model=nowhere", "no such folder"),
        ("--weight-dtype=int3", "give one of float32, bfloat16, int8"),
        ("--schedule-policy=lifo", "give one of fcfs, length-grouped"),
        ("--host=0.0.0.0", "set an admin token"),
        ("--admin-token-file=/dev/null", "write a token into it"),
    ],
)
def test_options_that_can_not_be_are_told_in_a_line(
    start_real: Starter, flag: str, told: str
) -> None:
    worker = start_real(flag, wait_ready=False)
    log = worker.log.read_text()
    assert worker.process.returncode == 2
    assert told in log
    assert "Traceback" not in log
