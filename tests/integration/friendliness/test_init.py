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
from autotuner.onboarding.front_text import front_text
from autotuner.proxy.config import load_proxy_config
from autotuner.resources import resource_folder
from autotuner.targets.bodies import SettingsBody
from autotuner.targets.capabilities import check_space
from tests.integration.friendliness.serving import PROXIED, PROXY, SETTINGS, VLLM, WORKER, serving

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


def test_vllm_gets_a_proxy_in_front(folder: Path) -> None:
    with serving(VLLM) as url:
        told = json.loads(init("--url", url, "--json").stdout)
    assert (told["kind"], told["version"], told["tunable"]) == ("vllm", "0.11.0", True)
    assert "this is vLLM 0.11.0, which changes none of its settings" in told["note"]
    assert told["written"] == ["autotuner.yaml", "policy.yaml", "proxy.yaml"]
    assert told["next"] == "autotuner proxy --config proxy.yaml"
    target = load_config(folder / "autotuner.yaml").targets[0]
    assert (target.url, target.mode) == ("http://127.0.0.1:9180", "active")
    proxy = load_proxy_config(folder / "proxy.yaml")
    assert proxy.engine is not None
    assert (proxy.engine.kind, proxy.engine.url, proxy.listen.port) == ("vllm", url, 9180)
    policy = load_policy("policy.yaml", folder)
    assert set(policy.knobs) == {"max_concurrency", "max_queue"}
    assert policy.proposer.kind == "tpe"


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_the_way_to_hand_the_server_over_is_a_configuration_too(kind: str, folder: Path) -> None:
    _, below = front_text("http://127.0.0.1:8000", kind).split("# engine:\n")
    handed = "".join(line.removeprefix("# ") + "\n" for line in below.splitlines())
    (folder / "proxy.yaml").write_text(f"listen: {{port: 9180}}\nengine:\n{handed}")
    engine = load_proxy_config(folder / "proxy.yaml").engine
    assert engine is not None
    shipped = load_policy(kind, resource_folder("policies")).knobs
    assert set(engine.settings) == {n for n, knob in shipped.items() if not knob.live}


def test_a_proxy_gets_the_policy_of_the_server_behind_it(folder: Path) -> None:
    with serving(PROXY) as url:
        done = init("--url", url)
    assert done.exit_code == 0, done.output
    assert "autotuner proxy in front of vLLM 0.33.0" in done.output
    assert load_config(folder / "autotuner.yaml").targets[0].url == url
    policy = load_policy("policy.yaml", folder)
    seqs, share = policy.knobs["max_num_seqs"], policy.knobs["gpu_memory_utilization"]
    assert (seqs.live, seqs.memory, seqs.max_step) == (False, "working", 3)
    assert seqs.levels == [16, 20, 32, 64, 96, 128]
    assert (share.memory, 0.9 in share.levels, 0.91 in share.levels) == ("reserved", True, True)
    assert policy.constraints == ("max_num_seqs <= max_num_batched_tokens",)
    assert "kv_cache_dtype" not in policy.knobs  # offered, but it changes answers: a comment
    assert "# kv_cache_dtype:" in (folder / "policy.yaml").read_text()
    assert [rail.measure for rail in policy.experiment.guardrails] == ["error_share", "e2el_p95"]
    check_space(policy.space(), SettingsBody.model_validate(PROXIED).offered())


def test_what_is_neither_vllm_nor_sglang_gets_the_live_knobs(folder: Path) -> None:
    live = {k: v for k, v in PROXIED["capabilities"].items() if k.startswith("max_concurrency")}
    told = {**PROXIED, "capabilities": live, "server": {"kind": "openai"}}
    with serving({"/admin/settings": told}) as url:
        assert init("--url", url).exit_code == 0
    policy = load_policy("policy.yaml", folder)
    assert set(policy.knobs) == {"max_concurrency"}
    assert policy.constraints == ()


def test_a_token_is_asked_for_and_taken(folder: Path) -> None:
    (folder / "token").write_text("secret\n")
    with serving(WORKER, "secret") as url:
        assert "give --token-file FILE" in refused(init("--url", url))
        assert init("--url", url, "--token-file", "token").exit_code == 0
    assert load_config(folder / "autotuner.yaml").targets[0].admin_token_file == Path("token")


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ({"/": "hello"}, "not as the bundled worker, the proxy, vLLM or SGLang do"),
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
