"""Two real workers, one daemon: a split test that a person declared runs to its verdict.

What the treatment gains is a wait of 100 ms before each batch, which no slow machine can hide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autotuner.bootstrap import build_daemon
from autotuner.config import parse_config, parse_policy
from autotuner.daemon import Daemon
from autotuner.domain.experiment import Arm, Design, Experiment, Verdict
from autotuner.domain.knobs import Value
from autotuner.history.records import Ask
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments
from tests.integration.split.traffic import traffic
from tests.integration.worker_whole.whole_worker import WholeWorker, make_model, started

pytestmark = pytest.mark.process

WAIT_MS = 100
RATE_RPS = 16.0
POLICY = parse_policy(
    {
        "name": "split-test",
        "slo": {"ttft_s": 0.095},
        "knobs": {"batch_timeout_ms": {"levels": [0, WAIT_MS]}},
        "experiment": {
            "slot_s": 1.5, "washout_min_s": 0.2, "washout_max_s": 3, "cooldown_s": 0.3,
            "max_pairs": 20, "min_requests_per_slot": 3,
        },
        "proposer": {
            "kind": "hill-climb", "observe_s": 5, "min_requests": 10, "goal_attainment": 0.0,
            "pause_s": 1, "retry_s": 1,
        },
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WholeWorker, ...]]:
    """Started with different settings: the daemon must bring them together."""
    folder = tmp_path_factory.mktemp("split")
    model = make_model(folder / "model")
    with ExitStack() as all_ended:
        made = []
        for number, wait_ms in enumerate((WAIT_MS, 0)):
            (folder / str(number)).mkdir()
            worker = started(model, folder / str(number), f"--batch-timeout-ms={wait_ms}")
            made.append(all_ended.enter_context(worker))
        yield tuple(made)


@dataclass
class Loop:
    """A daemon over the workers, driven by the test."""

    workers: tuple[WholeWorker, ...]
    folder: Path
    history: History = field(init=False)
    daemon: Daemon = field(init=False)

    def __post_init__(self) -> None:
        url = f"sqlite:///{self.folder / 'history.sqlite3'}"
        self.history = open_history(url)
        config = parse_config(
            {
                "history": url,
                "targets": [{"name": "t", "replicas": [worker.url for worker in self.workers]}],
                "cycle_s": 0.1,
            }
        )
        self.daemon = build_daemon(
            config, config.targets[0], POLICY, self.history, Instruments(), ()
        )

    def until(self, holds: Callable[[], bool], within_s: float = 150.0) -> None:
        end = time.monotonic() + within_s
        said = ""
        while not holds():
            assert time.monotonic() < end, said
            said = self.daemon.run_cycle(time.time())
            time.sleep(0.05)

    def live(self) -> list[Value]:
        bodies = [worker.get("/admin/settings").json() for worker in self.workers]
        return [body["settings"]["batch_timeout_ms"] for body in bodies]

    def declare(self, **changes: Value) -> None:
        payload = {"changes": changes, "plan": {}}
        self.history.ask("t", Ask.EXPERIMENT, "ada", time.time(), payload=payload)

    def ended(self) -> Experiment:
        """The last test, once it is over."""
        self.until(lambda: self._last() is not None)
        last = self._last()
        assert last is not None
        return last

    def _last(self) -> Experiment | None:
        found = self.history.experiments(target="t", limit=1)
        last = self.history.experiment(found[0].id) if found else None
        return last if last is not None and not last.running else None


@pytest.fixture
def loop(workers: tuple[WholeWorker, ...], tmp_path: Path) -> Iterator[Loop]:
    made = Loop(workers, tmp_path)
    with traffic([worker.url for worker in workers], RATE_RPS):
        yield made
        made.daemon.stop(time.time())


def test_a_declared_split_test_finds_the_gain_and_keeps_it_on_both_replicas(loop: Loop) -> None:
    loop.daemon.run_cycle(time.time())
    assert loop.live() == [WAIT_MS, WAIT_MS]  # lane 0's settings were found running
    loop.declare(batch_timeout_ms=0)
    test = loop.ended()
    assert test.conclusion is not None
    assert test.conclusion.verdict is Verdict.ACCEPTED
    assert test.plan.design is Design.SPLIT
    assert loop.live() == [0, 0]
    assert loop.history.next_declared("t") is None
    assert test.proposer == "declared by ada"
    check_slots(test)


def check_slots(test: Experiment) -> None:
    """Both arms ran at once, on either replica as the coin said, and each counted its own."""
    for pair in test.pairs:
        slots = test.slots[4 * pair.index : 4 * pair.index + 4]
        assert [slot.lane for slot in slots] == [0, 1, 0, 1]
        assert slots[0].arm is slots[3].arm is slots[1].arm.other is slots[2].arm.other
        assert slots[0].generation == slots[1].generation
        control = [slot.outcome for slot in slots if slot.arm is Arm.CONTROL]
        served = sum(outcome.requests for outcome in control if outcome is not None)
        assert pair.control.requests == served >= 2 * test.plan.min_requests_per_slot
