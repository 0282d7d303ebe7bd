"""A thousand requests while every knob changes at random: none is lost, and no text is wrong."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.worker_engine.engine_help import greedy, make_engine, run_all
from tests.integration.worker_whole.whole_worker import (
    VOCABULARY,
    WholeWorker,
    make_model,
    started,
)

pytestmark = [pytest.mark.process]

REQUESTS = 1000
CLIENTS = 12
REBUILD_EVERY = 6  # a change of settings in so many is one that takes a new engine group
LEAST_REBUILDS = 2


@dataclass(frozen=True)
class Ask:
    prompt: list[int]
    max_tokens: int


def asks() -> list[Ask]:
    """Some prompts start alike, so that the prefix cache is in play."""
    source = random.Random(7)
    starts = [[source.randrange(VOCABULARY - 1) for _ in range(40)] for _ in range(5)]
    made = []
    for _ in range(REQUESTS):
        own = [source.randrange(VOCABULARY - 1) for _ in range(source.randint(1, 60))]
        start = source.choice(starts) if source.random() < 0.4 else []
        made.append(Ask(start + own, source.randint(1, 20)))
    return made


def random_knobs(source: random.Random, *, rebuild: bool) -> dict[str, Any]:
    """Knobs that leave float32 answers as they are."""
    knobs: dict[str, Any] = {
        "max_num_seqs": source.randint(1, 16),
        "batch_timeout_ms": source.choice([0, 0, 5]),
        "batch_sizes": source.choice(["exact", "powers-of-two", "multiples-of-8"]),
        "max_num_batched_tokens": source.choice([16, 40, 128, 512]),
        "memory_efficient": source.random() < 0.5,
        "schedule_policy": source.choice(["fcfs", "length-grouped"]),
    }
    if rebuild:
        sizes = source.choice([(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)])
        names = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
        knobs |= dict(zip(names, sizes, strict=True))
    return knobs


@dataclass
class Changer:
    """Puts random settings, one after the other, until it is told to stop."""

    worker: WholeWorker
    stop: threading.Event = field(default_factory=threading.Event)
    changes: int = 0
    rebuilds: int = 0
    problems: list[str] = field(default_factory=list)

    def run(self) -> None:
        source = random.Random(8)
        for number in itertools.count(1):
            if self.stop.is_set():
                return
            rebuild = number % REBUILD_EVERY == 0
            answer = self._put(random_knobs(source, rebuild=rebuild))
            if answer.status_code != 200:
                self.problems.append(answer.text)
                return
            self.changes += 1
            self.rebuilds += rebuild

    def _put(self, knobs: dict[str, Any]) -> requests.Response:
        generation = self.worker.get("/admin/settings").json()["generation"]
        return self.worker.put("/admin/settings", {"generation": generation, "settings": knobs})


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WholeWorker]:
    folder = make_model(tmp_path / "model")
    # So small a cache that memory_efficient has to preempt.
    with started(folder, tmp_path, "--max-ranks=4", "--kv-cache-gib=0.0003") as made:
        yield made


def test_no_request_is_lost_and_no_text_is_wrong(worker: WholeWorker) -> None:
    changer = Changer(worker)
    thread = threading.Thread(target=changer.run)
    thread.start()
    try:
        rounds = list(texts_until_rebuilt(worker, changer))
    finally:
        changer.stop.set()
        thread.join()
    assert changer.problems == []
    expected = fixed_settings_texts(worker.folder)
    for texts in rounds:
        assert texts == expected
    worker.assert_all_served(len(rounds) * REQUESTS)


def texts_until_rebuilt(worker: WholeWorker, changer: Changer) -> Iterator[list[list[int]]]:
    """All requests' texts, again and again until enough rebuilds took place among them."""
    while True:
        with ThreadPoolExecutor(CLIENTS) as clients:
            yield list(clients.map(worker.tokens_of, asks()))
        if changer.rebuilds >= LEAST_REBUILDS or changer.problems:
            return


def fixed_settings_texts(folder: Path) -> list[list[int]]:
    """What one process gives, with settings that never change."""
    engine = make_engine(folder, prefix_caching=False)
    requests_of = {f"{i}": (ask.prompt, greedy(ask.max_tokens)) for i, ask in enumerate(asks())}
    return list(run_all(engine, requests_of).values())
