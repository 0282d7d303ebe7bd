"""A worker's front, as its users meet it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

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

    def put(self, **settings: int) -> Any:
        told = requests.get(f"{self.url}/admin/settings", timeout=10).json()
        body = {"generation": told["generation"], "settings": settings}
        answer = requests.put(f"{self.url}/admin/settings", json=body, timeout=READY_S)
        assert answer.status_code == 200, answer.text
        return answer.json()["settings"]

    def is_healthy(self) -> bool:
        return requests.get(f"{self.url}/health", timeout=10).status_code == 200
