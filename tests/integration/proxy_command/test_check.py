"""`autotuner proxy --check`: what it finds at real servers, and what it says of mistakes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.domain.errors import ConfigError
from experiments.studies.proxy_overhead.processes import ROOT, Running, write_config
from tests.integration.servers.fake_process import start_fake, wait_healthy

pytestmark = pytest.mark.process


def proxy(*words: str) -> Result:
    return CliRunner().invoke(app, ["proxy", *words])


def report(*words: str) -> dict[str, Any]:
    done = proxy(*words, "--check", "--json")
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (0 if told["answers"] else 1)
    return told


def nobody() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_it_says_what_answers_and_what_does_not(server: Running, file: Path) -> None:
    silent = nobody()
    write_config(file, [server.url, silent])
    told = report("-c", str(file))
    one, two = told["servers"]
    assert (one["model"], one["kind"], one["problem"]) == ("source", "openai", "")
    assert two["problem"] == "no answer"
    assert [knob["name"] for knob in told["knobs"]] == ["max_concurrency", "max_queue"]
    shown = proxy("-c", str(file), "--check")
    assert shown.exit_code == 0
    for word in ("source", "openai", "no answer", "max_concurrency"):
        assert word in shown.stdout


@pytest.mark.parametrize(
    ("kind", "flags", "settings"),
    [
        ("vllm", ("--max-num-seqs", "7"), {}),
        ("sglang", ("--max-running-requests", "7"), {"max_running_requests": 7}),
    ],
)
def test_the_kind_of_server_is_found_out_from_what_it_tells(
    tmp_path: Path, kind: str, flags: tuple[str, ...], settings: dict[str, Any]
) -> None:
    scene = tmp_path / "scene.json"
    scene.write_text(json.dumps({"slower": 1.0, "start_s": 0.0, "rules": []}))
    url, process = start_fake(kind, scene, *flags)
    try:
        wait_healthy(url)
        told = report("--backend", url)
    finally:
        with process:
            process.kill()
    [found] = told["servers"]
    assert (found["kind"], found["problem"]) == (kind, "")
    assert found["version"]
    assert found["settings"].items() >= settings.items()
    assert any("runs with" in note for note in told["notes"]) is bool(found["settings"])


def test_without_any_answer_the_exit_code_says_so() -> None:
    assert not report("--backend", nobody())["answers"]


def test_an_engine_of_its_own_is_told_with_its_flags_and_not_started(
    tmp_path: Path, file: Path
) -> None:
    mark = tmp_path / "started"
    port = int(nobody().rpartition(":")[2])
    launcher = {"kind": "command", "command": ["touch", str(mark)], "ports": [port]}
    engine = {
        "kind": "vllm", "launcher": launcher, "settings": {"max_num_seqs": 64},
        "state_dir": str(tmp_path),
    }  # fmt: skip
    file.write_text(yaml.safe_dump({"engine": engine}))
    told = report("-c", str(file))
    knob = told["knobs"][-1]
    assert (knob["name"], knob["now"], knob["takes"]) == (
        "max_num_seqs", "64", "restart in place"
    )  # fmt: skip
    assert told["notes"] == [f"would start: touch {mark} --max-num-seqs 64"]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either --config FILE or --backend URL"),
        (["-c", "x.yaml", "--backend", "http://a"], "give either"),
        (["-c", "/nowhere/x.yaml"], "/nowhere/x.yaml: can't be read"),
        (["--backend", "ftp://a"], "begins with http:// or https://"),
        (["--backend", "http://a", "--host", "0.0.0.0"], "listen.admin_token_file"),
        (["--backend", "http://a", "--json"], "--check"),
    ],
)
def test_a_mistake_is_refused_with_its_fix(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as found:
        raise proxy(*words).exception or AssertionError("not refused")
    assert said in str(found.value)


def test_a_port_that_is_taken_is_one_sentence_and_exit_code_2(server: Running) -> None:
    words = ["proxy", "--backend", server.url, "--port", str(server.port)]
    done = subprocess.run(
        [sys.executable, "-m", "autotuner", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert f"port={server.port}: can't listen there" in done.stderr
    assert "Traceback" not in done.stderr
