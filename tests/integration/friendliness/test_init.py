"""`autotuner init` against servers of several kinds."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.config import load_config, load_policy
from autotuner.domain.errors import AutotunerError
from tests.integration.friendliness.serving import SETTINGS, VLLM, WORKER, serving

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> Result:
    return CliRunner().invoke(app, ["init", *words])


def refused(result: Result) -> str:
    assert isinstance(result.exception, AutotunerError), result.output
    return str(result.exception)


def test_a_worker_gets_a_policy_that_it_accepts(folder: Path) -> None:
    with serving(WORKER) as url:
        done = init("--url", url, "--name", "llm")
    assert done.exit_code == 0, done.output
    config = load_config(folder / "autotuner.yaml")
    assert (config.targets[0].name, config.targets[0].url) == ("llm", url)
    policy = load_policy(config.targets[0].policy, folder)
    assert policy.knobs["max_num_seqs"].levels == [1, 2, 4, 8, 12, 16]
    assert "next: autotuner run --config autotuner.yaml" in done.output


def test_files_that_are_there_stay_unless_forced(folder: Path) -> None:
    (folder / "policy.yaml").write_text("mine")
    with serving(WORKER) as url:
        assert "policy.yaml: there already: give --force" in refused(init("--url", url))
        assert (folder / "policy.yaml").read_text() == "mine"
        assert not (folder / "autotuner.yaml").exists()
        assert init("--url", url, "--force").exit_code == 0
    assert (folder / "policy.yaml").read_text() != "mine"


def test_json_is_all_there_is_on_the_standard_output() -> None:
    with serving(WORKER) as url:
        told = json.loads(init("--url", url, "--json").stdout)
    assert told["kind"] == "worker"
    assert told["written"] == ["autotuner.yaml", "policy.yaml"]
    assert told["next"] == "autotuner run --config autotuner.yaml"


def test_vllm_is_recognised_and_not_promised(folder: Path) -> None:
    with serving(VLLM) as url:
        told = json.loads(init("--url", url, "--json").stdout)
    assert (told["kind"], told["version"], told["tunable"]) == ("vllm", "0.11.0", False)
    assert "tuning of vLLM is not built in yet" in told["note"]
    assert told["written"] == ["autotuner.yaml"]
    assert load_config(folder / "autotuner.yaml").targets[0].mode == "paused"


def test_a_token_is_asked_for_and_taken(folder: Path) -> None:
    (folder / "token").write_text("secret\n")
    with serving(WORKER, "secret") as url:
        assert "give --token-file FILE" in refused(init("--url", url))
        assert init("--url", url, "--token-file", "token").exit_code == 0
    assert load_config(folder / "autotuner.yaml").targets[0].admin_token_file == Path("token")


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ({"/": "hello"}, "not as the bundled worker, vLLM or SGLang do"),
        ({"/admin/settings": {**SETTINGS, "generation": 0}}, "no usable answer"),
    ],
)
def test_what_is_no_server_of_ours_is_said(pages: dict[str, Any], told: str) -> None:
    with serving(pages) as url:
        assert told in refused(init("--url", url))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--url", "127.0.0.1:8000"], "give it with http:// or https://"),
        (["--url", "http://127.0.0.1:9"], "Start the worker"),
        (["--out", "absent/a.yaml"], "there is no folder absent: create it"),
        (["--out", "a.yaml", "--policy-out", "a.yaml"], "give another --policy-out"),
        (["--token-file", "absent"], "--token-file='absent': can't be read"),
    ],
)
def test_mistakes_name_the_fix(words: list[str], told: str) -> None:
    assert told in refused(init(*words))


def test_on_a_terminal_it_asks_for_what_was_not_given(folder: Path) -> None:
    ours, theirs = pty.openpty()
    with serving(WORKER) as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "autotuner", "init"],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
        )
        os.write(ours, f"{url}\n2\n0.3\n".encode())
        _, problem = process.communicate(timeout=120)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 0, problem
    policy = load_policy("policy.yaml", folder)
    assert (policy.slo.ttft_s, policy.slo.gap_max_s) == (2.0, 0.3)
    assert load_config(folder / "autotuner.yaml").targets[0].url == url
