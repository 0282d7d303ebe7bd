"""The whole worker with adapters that come while it serves, and a golden file that is replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.integration.worker_engine.tiny_adapters import save_adapter
from tests.integration.worker_front.fake_engine import write_model
from tests.integration.worker_front.open_loop import OpenLoop, outcomes_of
from tests.integration.worker_parallel.groups import tiny_model

pytestmark = pytest.mark.process

Starter = Callable[..., Any]
REBUILD_S = 300.0  # as long as the worker gives a rebuild: a slow machine must not decide
SMALL = ("--kv-cache-gib=0.05", "--max-model-len=256", "--weight-dtype=float32")
PROMPT = "What is a whole block of tokens and a bit more?"


@dataclass
class Adapters:
    """A worker on a tiny model, the folder of its adapters, and adapters that are not there yet."""

    worker: Any
    folder: Path
    drafts: Path

    def publish(self, name: str) -> None:
        """Puts the adapter there whole, as a careful trainer does."""
        (self.drafts / name).rename(self.folder / name)

    def settings(self) -> Any:
        return self.worker.get("/admin/settings").json()

    def choose(self, name: str) -> Any:
        told = self.settings()
        body = {"generation": told["generation"], "settings": {"weights": name}}
        url = f"{self.worker.url}/admin/settings"
        return requests.put(url, json=body, timeout=REBUILD_S)

    def ask(self) -> tuple[str, int]:
        """The greedy answer to one prompt, and how much of the prompt was known."""
        answer = self.worker.complete(PROMPT, max_tokens=12, temperature=0, ignore_eos=True).json()
        cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        return answer["choices"][0]["text"], cached


def write_adapters(model: Path, drafts: Path) -> None:
    """v1 is good; v2 has a number that is not finite, which no header tells; v3 is no plain LoRA;
    v4 is of another model.
    """
    load: Any = AutoModelForCausalLM
    base = load.from_pretrained(model, dtype=torch.float32)
    for name in ("v1", "v2", "v3", "v4"):
        save_adapter(base, drafts / name)
    file = drafts / "v2" / "adapter_model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, file)
    config = json.loads((drafts / "v3" / "adapter_config.json").read_text())
    (drafts / "v3" / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    facts = {"base": {"name": "another", "sha256": "0" * 64}}
    (drafts / "v4" / "autotuner.json").write_text(json.dumps(facts))


@pytest.fixture
def adapters(start_real: Starter, tmp_path: Path) -> Adapters:
    model = write_model(tiny_model(tmp_path / "model", vocab_size=300))
    folder, drafts = tmp_path / "adapters", tmp_path / "drafts"
    folder.mkdir()
    write_adapters(model, drafts)
    worker = start_real(f"--model={model}", f"--adapters={folder}", *SMALL)
    return Adapters(worker, folder, drafts)


def test_weights_change_and_change_back_under_load(adapters: Adapters) -> None:
    worker = adapters.worker
    with OpenLoop(worker, rate_rps=5.0, max_tokens=20, echoes=False) as load:
        assert adapters.settings()["capabilities"]["weights"]["values"] == ["base"]
        base, _ = adapters.ask()
        assert adapters.ask()[1] > 0

        adapters.publish("v1")  # while it runs
        assert adapters.settings()["capabilities"]["weights"]["values"] == ["base", "v1"]
        told = adapters.choose("v1").json()
        assert (told["settings"]["weights"], told["generation"]) == ("v1", 2)
        adapted, cached = adapters.ask()
        assert adapted != base
        assert cached == 0  # what was computed under other weights is not known here
        assert 'weights="v1"' in worker.get("/metrics").text

        for name in ("v2", "v3", "v4"):
            adapters.publish(name)
        assert_refused(adapters)
        assert adapters.settings()["settings"]["weights"] == "v1"
        assert adapters.ask()[0] == adapted

        assert adapters.choose("base").json()["settings"]["weights"] == "base"
        assert adapters.ask()[0] == base
    assert load.wrong == []
    assert load.sent > 10
    assert set(outcomes_of(worker)) <= {"length", "stop"}


def assert_refused(adapters: Adapters) -> None:
    told = adapters.settings()
    assert told["capabilities"]["weights"]["values"] == ["base", "v1", "v2", "v4"]
    assert list(told["refused_weights"]) == ["v3"]
    plain = adapters.choose("v3")
    assert (plain.status_code, plain.json()["error"]["field"]) == (422, "weights")
    assert "v3/adapter_config.json: use_dora=True" in plain.json()["error"]["message"]
    for name, reason in (
        ("v2", "v2/adapter_model.safetensors: tensor="),
        ("v4", "v4/autotuner.json: base.sha256="),
    ):
        broken = adapters.choose(name)
        assert (broken.status_code, broken.json()["error"]["code"]) == (503, "not_applied")
        assert reason in broken.json()["error"]["message"]


def test_a_worker_starts_with_an_adapter_and_keeps_it_when_its_folder_goes(
    adapters: Adapters, start_real: Starter
) -> None:
    adapters.publish("v1")
    model, folder = adapters.drafts.with_name("model"), adapters.folder
    flags = (f"--model={model}", f"--adapters={folder}", "--weights=v1", *SMALL)
    other = Adapters(start_real(*flags), folder, adapters.drafts)
    assert other.ask()[0] != adapters.ask()[0]
    (folder / "v1").rename(adapters.drafts / "gone")
    told = other.settings()
    assert told["capabilities"]["weights"]["values"] == ["base", "v1"]
    live = {"weights": "v1", "max_num_seqs": 3}
    answer = other.worker.put("/admin/settings", {"generation": 1, "settings": live})
    assert (answer.status_code, answer.json()["settings"]["weights"]) == (200, "v1")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--weights=v1",), "weights='v1': give --adapters FOLDER"),
        (("--adapters=nowhere",), "adapters='nowhere': no such folder"),
    ],
)
def test_a_start_without_the_adapters_is_told_in_a_line(
    start_real: Starter, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    model = write_model(tiny_model(tmp_path / "model", vocab_size=300))
    worker = start_real(f"--model={model}", *SMALL, *flags, wait_ready=False)
    assert worker.process.returncode == 2
    assert told in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()


def test_a_golden_file_is_replaced_while_it_serves(start_real: Starter, tmp_path: Path) -> None:
    model = write_model(tiny_model(tmp_path / "model", vocab_size=300))
    golden = tmp_path / "golden.jsonl"
    write_golden(golden, *range(5))
    worker = start_real(f"--model={model}", f"--golden={golden}", *SMALL)
    told = worker.post("/admin/probe", {"items": 3, "first": 9}).json()
    assert (told["items"], told["first"], told["of"]) == (3, 4, 5)
    whole = worker.post("/admin/probe", {}).json()
    assert (whole["items"], whole["golden"]) == (5, told["golden"])
    write_golden(golden, 7, 8)
    newer = worker.post("/admin/probe", {}).json()
    assert (newer["items"], newer["golden_problem"]) == (2, None)
    assert newer["golden"] != told["golden"]
    golden.write_text('{"prompt": "hi", "answer": 3}\n')
    kept = worker.post("/admin/probe", {}).json()
    assert kept["golden"] == newer["golden"]
    assert "golden.jsonl, line 1: answer=3" in kept["golden_problem"]
    assert "golden.jsonl, line 1: answer=3" in worker.log.read_text()


def write_golden(file: Path, *numbers: int) -> None:
    items = [{"prompt": f"item {number}", "answer": "a b c"} for number in numbers]
    new = file.with_name("new")
    new.write_text("".join(json.dumps(item) + "\n" for item in items))
    new.replace(file)
