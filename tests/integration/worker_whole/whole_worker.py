"""A real worker process over a tiny random model whose text tells its tokens."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import requests
from tokenizers import Tokenizer, models
from transformers import LlamaConfig

from tests.integration.worker_engine.tiny_models import SIZES, make_tiny

VOCABULARY = 257


class Wanted(Protocol):
    @property
    def prompt(self) -> list[int]: ...

    @property
    def max_tokens(self) -> int: ...


def make_model(folder: Path) -> Path:
    """A random Llama whose token 5 reads "t5"."""
    sizes = {**SIZES, "vocab_size": VOCABULARY, "eos_token_id": VOCABULARY - 1}
    make_tiny(LlamaConfig(**sizes)).save_pretrained(folder)
    words = {f"t{token}": token for token in range(VOCABULARY)}
    Tokenizer(models.WordLevel(words, unk_token="t0")).save(str(folder / "tokenizer.json"))
    config = {"eos_token": f"t{VOCABULARY - 1}", "chat_template": "{{ messages[0].content }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@dataclass
class WholeWorker:
    url: str
    folder: Path
    log: Path

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=60)

    def put(self, path: str, body: Any) -> requests.Response:
        return requests.put(f"{self.url}{path}", json=body, timeout=300)

    def tokens_of(self, ask: Wanted) -> list[int]:
        """The tokens of the answer, read off its text."""
        body = {
            "prompt": ask.prompt,
            "max_tokens": ask.max_tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        answer = requests.post(f"{self.url}/v1/completions", json=body, timeout=300)
        assert answer.status_code == 200, answer.text
        text: str = answer.json()["choices"][0]["text"]
        return [int(word.removeprefix("t")) for word in text.split()]

    def assert_all_served(self, count: int) -> None:
        outcomes: list[str] = []
        page = self.get("/admin/exposures").json()
        while page["exposures"]:
            assert not page["overrun"]
            outcomes += [exposure["outcome"] for exposure in page["exposures"]]
            page = self.get(f"/admin/exposures?after={page['next']}").json()
        assert outcomes == ["length"] * count
        assert page["in_flight"] == {}


@contextmanager
def started(folder: Path, logs: Path, *flags: str) -> Iterator[WholeWorker]:
    """Starts `python -m autotuner.worker` in float32, waits until it serves, ends it."""
    command = [sys.executable, "-m", "autotuner.worker", "--port=0", f"--model={folder}"]
    command += ["--weight-dtype=float32", "--max-model-len=128", *flags]
    log = logs / "worker.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        worker = WholeWorker(f"http://127.0.0.1:{told['port']}", folder, log)
        _wait_ready(worker)
        yield worker
        process.terminate()
        assert process.wait(timeout=60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_ready(worker: WholeWorker) -> None:
    end = time.monotonic() + 120
    while worker.get("/health").status_code != 200:
        assert time.monotonic() < end, worker.log.read_text()
        time.sleep(0.1)
