"""Long prompts sent to a worker at a steady rate, whatever becomes of those before them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from tests.integration.worker_whole.whole_worker import VOCABULARY, WholeWorker

PROMPT_TOKENS = 1500
MOST_AT_ONCE = 100


@dataclass
class LongPrompts:
    """Requests that are nearly all prefill. No two prompts start alike."""

    worker: WholeWorker
    source: random.Random = field(default_factory=lambda: random.Random(3))

    def lone_s(self) -> float:
        """What one takes while nothing else runs: the least of seven, without the neighbours."""
        return min(self._timed() for _ in range(7))

    @contextmanager
    def sent_at(self, rate_rps: float) -> Iterator[None]:
        """Sends inside the block; on leaving it waits for the last answers."""
        over = threading.Event()
        with ThreadPoolExecutor(MOST_AT_ONCE) as clients:
            pacing = threading.Thread(target=self._pace, args=(clients, 1 / rate_rps, over))
            pacing.start()
            try:
                yield
            finally:
                over.set()
                pacing.join()

    def _pace(self, clients: ThreadPoolExecutor, gap_s: float, over: threading.Event) -> None:
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due += gap_s
            clients.submit(self._post, self._prompt())

    def _timed(self) -> float:
        prompt, began = self._prompt(), time.monotonic()
        answer = self._post(prompt)
        assert answer.status_code == 200, answer.text
        return time.monotonic() - began

    def _prompt(self) -> list[int]:
        return [self.source.randrange(VOCABULARY - 1) for _ in range(PROMPT_TOKENS)]

    def _post(self, prompt: list[int]) -> requests.Response:
        body = {"prompt": prompt, "max_tokens": 4, "temperature": 0, "ignore_eos": True}
        return requests.post(f"{self.worker.url}/v1/completions", json=body, timeout=120)
