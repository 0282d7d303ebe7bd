"""What a router does in front of two replicas: every second request goes to the other one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import requests


@contextmanager
def traffic(urls: Sequence[str], rate_rps: float) -> Iterator[None]:
    """Short completions at a steady rate, whatever becomes of those before."""
    over = threading.Event()
    turns = itertools.cycle(urls)

    def ask(url: str, number: int) -> None:
        body = {"prompt": f"t{number % 200} t7 t9", "max_tokens": 4, "temperature": 0}
        try:
            requests.post(f"{url}/v1/completions", json=body, timeout=30)
        except requests.RequestException:
            return  # the worker tells of its failures itself

    def keep_asking(pool: ThreadPoolExecutor) -> None:
        for number in itertools.count():
            if over.wait(1 / rate_rps):
                return
            pool.submit(ask, next(turns), number)

    with ThreadPoolExecutor(16) as pool:
        sender = threading.Thread(target=keep_asking, args=(pool,))
        sender.start()
        try:
            yield
        finally:
            over.set()
            sender.join()
