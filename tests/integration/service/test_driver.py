"""The live driver with threads of its own: hanging cycles and jobs, and an exchange of daemons."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from autotuner.instruments import Instruments
from autotuner.service import Job, Service
from tests.integration.daemon.processes import until


class Looping:
    """A daemon that counts its cycles, and hangs in one while `free` is not set."""

    def __init__(self, name: str) -> None:
        self.name, self.cycles = name, 0
        self.stopped: list[str] = []
        self.free = threading.Event()
        self.free.set()

    def run_cycle(self, now: float) -> str:
        self.free.wait()
        assert not self.stopped, "a daemon that was stopped runs no cycle"
        self.cycles += 1
        return f"cycle {self.cycles}"

    def stop(self, now: float, why: str) -> str:
        self.stopped.append(why)
        return why


class Running:
    """A service in a thread; `end` stops it and returns the jobs that it left behind."""

    def __init__(self, daemons: Sequence[Looping], jobs: Sequence[Job] = ()) -> None:
        listed: list[Any] = list(daemons)
        self.service = Service(
            listed, jobs, Instruments(), 0.05, stall_s=1.0, turn_s=0.5, grace_s=0.2
        )
        self._stopped, self._pool = threading.Event(), ThreadPoolExecutor(1)
        self._left: Future[Any] = self._pool.submit(self.service.run, self._stopped)

    def end(self) -> frozenset[str]:
        self._stopped.set()
        return frozenset(self._left.result(timeout=60))


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    begun: list[Running] = []

    def begin(*daemons: Looping, jobs: Sequence[Job] = ()) -> Running:
        begun.append(Running(daemons, jobs))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()
        one._pool.shutdown()


Start = Callable[..., Running]


def test_one_cycle_that_hangs_is_no_sign_of_life(start: Start) -> None:
    good, bad = Looping("good"), Looping("bad")
    running = start(good, bad)
    until(lambda: good.cycles > 2 and bad.cycles > 2)
    assert running.service.alive()
    assert "good: cycle" in running.service.sentence()
    bad.free.clear()
    until(lambda: not running.service.alive())
    bad.free.set()
    until(running.service.alive)


def test_a_cycle_that_hangs_keeps_no_other_incumbent_from_being_put_back(start: Start) -> None:
    good, bad = Looping("good"), Looping("bad")
    running = start(good, bad)
    until(lambda: good.cycles > 0 and bad.cycles > 0)
    bad.free.clear()
    running.end()
    assert good.stopped == ["the daemon was stopped"]
    bad.free.set()


def test_a_slow_job_is_left_behind_and_named(start: Start) -> None:
    free, begun = threading.Event(), threading.Event()

    def training(now: float) -> None:
        begun.set()
        free.wait()

    daemon = Looping("a")
    running = start(daemon, jobs=[Job("improve:a", 0.05, training, apart=True)])
    assert begun.wait(60)
    assert running.end() == {"improve:a"}
    assert daemon.stopped == ["the daemon was stopped"]
    free.set()


def test_an_exchange_touches_only_what_differs(start: Start) -> None:
    kept, left, came = Looping("kept"), Looping("left"), Looping("came")
    ran: list[str] = []
    old = Job("old", 0.05, lambda _: ran.append("old"))
    new = Job("new", 0.05, lambda _: ran.append("new"))
    running = start(kept, left, jobs=[old])
    until(lambda: kept.cycles > 0 and left.cycles > 0 and "old" in ran)
    running.service.exchange([kept, came], [new], 0.02)  # type: ignore[list-item]
    assert left.stopped == ["its configuration was changed"]
    before, ended = kept.cycles, left.cycles
    until(lambda: came.cycles > 2 and kept.cycles > before and "new" in ran)
    assert left.cycles == ended
    assert kept.stopped == []
    last_old = ran.count("old")
    until(lambda: ran.count("new") > 5)
    assert ran.count("old") == last_old


def test_a_target_that_is_built_anew_has_one_daemon_at_a_time(start: Start) -> None:
    old, new = Looping("t"), Looping("t")
    running = start(old)
    until(lambda: old.cycles > 0)
    running.service.exchange([new], [], 0.05)  # type: ignore[list-item]
    ended = old.cycles
    until(lambda: new.cycles > 3)
    assert old.cycles == ended
    assert running.service.health()[0]
