"""The fake server is what it is taken for: its settings matter, it fails as the real do."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import requests

from autotuner.proxy.engines.faults import death
from autotuner.proxy.engines.launchers.port import Exit
from autotuner.proxy.ports import Fault
from tests.integration.servers.fake_process import command, free_port, start_fake, wait_healthy
from tests.integration.servers.traffic import traffic

pytestmark = pytest.mark.process

MEANT = {
    "start-memory": Fault.START_MEMORY,
    "start-share": Fault.RUN_MEMORY,  # a smaller share cures it, as it does while serving
    "start-kv": Fault.START_KV,
    "refused": Fault.REFUSED,
    "crash-at-start": Fault.CRASHED,
    "killed-at-start": Fault.KILLED,
}
MEANT_LATER = {"run-memory": Fault.RUN_MEMORY, "crash": Fault.CRASHED, "killed": Fault.KILLED}


def exit_of(ended: subprocess.Popen[str]) -> tuple[Exit, list[str]]:
    _, said = ended.communicate(timeout=60)
    code = ended.returncode
    return Exit(code) if code >= 0 else Exit(signal=-code), said.splitlines()


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_each_fault_of_the_fake_is_told_as_the_fault_that_it_is(kind: str, tmp_path: Path) -> None:
    """At the start and after requests; all of them at once, for a start takes a second."""
    started = {}
    for fault in [*MEANT, *MEANT_LATER]:
        scene = tmp_path / f"{fault}.json"
        later = fault in MEANT_LATER
        rule = {"fault": fault, "after_requests": 1 if later else 0}
        scene.write_text(json.dumps({"rules": [rule]}))
        started[fault] = start_fake(kind, scene)
    for fault in MEANT_LATER:
        url, _ = started[fault]
        wait_healthy(url)
        for _ in range(2):  # the first is served, the second finds the fault
            try:
                requests.post(f"{url}/v1/completions", json={"prompt": "a", "max_tokens": 1})
            except requests.ConnectionError:
                continue
    for fault, meant in {**MEANT, **MEANT_LATER}.items():
        ended, lines = exit_of(started[fault][1])
        found = death(ended, lines, was_ready=fault in MEANT_LATER)
        assert found.fault is meant, (fault, found, lines)


def test_a_flag_that_is_unknown_and_a_port_that_is_taken(tmp_path: Path) -> None:
    _, first = start_fake("vllm", tmp_path / "none", "--max-num-sqs=4")
    ended, lines = exit_of(first)
    assert death(ended, lines, was_ready=False).fault is Fault.REFUSED
    port = free_port()
    url, serving = start_fake("vllm", tmp_path / "none", port=port)
    wait_healthy(url)
    _, late = start_fake("sglang", tmp_path / "none", port=port)
    ended, lines = exit_of(late)
    assert death(ended, lines, was_ready=False).fault is Fault.PORT
    serving.kill()
    serving.communicate()


def test_more_requests_at_once_are_worth_it(tmp_path: Path) -> None:
    """What a tuner has to find: a batch of 2 keeps requests waiting, 32 does not."""
    waited = {}
    for seqs in (2, 32):
        url, server = start_fake("vllm", tmp_path / "none", f"--max-num-seqs={seqs}")
        wait_healthy(url)
        with traffic([url], rate_rps=60) as seen:
            time.sleep(2)
        assert not seen.lost
        text = requests.get(f"{url}/metrics", timeout=5).text
        waited[seqs] = sum_of(text, "request_queue_time_seconds_sum") / seen.served
        server.kill()
        server.communicate()
    assert waited[2] > 10 * waited[32]


def sum_of(text: str, name: str) -> float:
    [line] = [line for line in text.splitlines() if line.startswith(f"vllm:{name}")]
    return float(line.split()[-1])


def test_the_command_line_is_the_real_ones_with_two_words_before_it() -> None:
    words = command("sglang", Path("scene.json"))
    assert words[-4:] == ["--kind=sglang", "--scene=scene.json", "--model-path", "fake/model"]
