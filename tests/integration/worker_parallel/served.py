"""A worker's front, as its users meet it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from tests.integration.worker_parallel.groups import until

READY_S = 120.0


@dataclass
class ServedWorker:
    """A worker over HTTP, whatever started it."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def complete(self) -> Any:
        body = {"prompt": "aaaa", "max_tokens": 6, "temperature": 0, "ignore_eos": True}
        answer = requests.post(f"{self.url}/v1/completions", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]["text"]

    def put(self, **settings: int | str) -> Any:
        told = requests.get(f"{self.url}/admin/settings", timeout=10).json()
        body = {"generation": told["generation"], "settings": settings}
        answer = requests.put(f"{self.url}/admin/settings", json=body, timeout=READY_S)
        assert answer.status_code == 200, answer.text
        return answer.json()["settings"]

    def is_healthy(self) -> bool:
        return requests.get(f"{self.url}/health", timeout=10).status_code == 200


Served = TypeVar("Served", bound=ServedWorker)


@contextmanager
def serving(kind: type[Served], command: list[str], log: Path) -> Iterator[Served]:
    """Starts what says on its standard output where it listens, waits until it serves, kills it."""
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    with process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, log.read_text()
            served = kind(process, f"http://127.0.0.1:{json.loads(line)['port']}", log)
            until(served.is_healthy, READY_S)
            yield served
        finally:
            process.kill()
