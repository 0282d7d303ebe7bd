"""Processes that last: many answers from one, and what happens to one that is stuck or dies."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from autotuner.forecast.bands import Kind
from autotuner.forecast.child import ChildError
from autotuner.forecast.fit_job import FitRequest, fit
from autotuner.forecast.lasting import LastingChild
from autotuner.forecast.pool import FitPool
from autotuner.forecast.series import DAY_S, clean

pytestmark = pytest.mark.process

NOW = 20_000 * DAY_S
ECHO = "import sys\nfor line in sys.stdin: print(line[::-1].strip(), flush=True)"


@contextmanager
def child(script: str) -> Iterator[LastingChild]:
    lasting = LastingChild([sys.executable, "-c", script])
    try:
        yield lasting
    finally:
        lasting.close()


def request(seed: int, time_limit_s: float = 60.0) -> FitRequest:
    times = NOW + 300.0 * np.arange(3 * 288, dtype=np.float64)
    values = np.random.default_rng(seed).exponential(size=len(times))
    return FitRequest(clean(times, values), times[-3:] + 900.0, Kind.RATE, time_limit_s, 0.9)


def test_one_process_answers_many_lines() -> None:
    with child(ECHO) as lasting:
        assert [lasting.ask(word, 30.0) for word in (b"abc", b"de")] == [b"cba", b"ed"]


def test_lines_longer_than_a_pipe_pass() -> None:
    with child(ECHO) as lasting:
        line = b"0123456789" * 100_000
        assert lasting.ask(line, 60.0) == line[::-1]


def test_who_does_not_read_meets_the_limit() -> None:
    with (
        child("import time; time.sleep(600)") as lasting,
        pytest.raises(TimeoutError, match=r"timed out after 0\.5 s"),
    ):
        lasting.ask(b"x" * 1_000_000, 0.5)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_who_dies_tells_its_last_line(size: int) -> None:
    with (
        child("raise SystemExit('no backend here')") as lasting,
        pytest.raises(ChildError, match="no backend here"),
    ):
        lasting.ask(b"x" * size, 60.0)


def test_a_closed_child_is_gone_with_its_files() -> None:
    with child("import tempfile; print(tempfile.gettempdir(), flush=True); input()") as lasting:
        folder = Path(lasting.ask(b"", 30.0).decode())
        assert folder.is_dir()
        pid = lasting.pid
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_the_pool_fits_as_this_process_does_whatever_the_order() -> None:
    pool = FitPool(2)
    requests = [request(seed) for seed in range(4)]
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(pool.fit, requests)) == [fit(one) for one in requests]
    finally:
        pool.close()


def test_a_failed_fit_is_told_and_the_process_goes_on() -> None:
    pool = FitPool(1)
    short = FitRequest(clean([NOW], [1.0]), np.array([NOW]), Kind.RATE, 60.0, 0.9)
    try:
        with pytest.raises(ChildError, match="ValueError: series: 1 points"):
            pool.fit(short)
        assert pool.fit(request(1)) == fit(request(1))
    finally:
        pool.close()


def test_after_a_stuck_process_the_next_request_gets_a_new_one(tmp_path: Path) -> None:
    mark = tmp_path / "stuck once"
    script = (
        "import pathlib, time\n"
        f"mark = pathlib.Path({str(mark)!r})\n"
        "if not mark.exists():\n"
        "    mark.touch(); time.sleep(600)\n"
        "from autotuner.forecast.fit_job import main\n"
        "main()\n"
    )
    pool = FitPool(1, [sys.executable, "-c", script])
    try:
        while not mark.exists():  # a start that was slow is not yet one that is stuck
            with pytest.raises(TimeoutError):
                pool.fit(request(1, time_limit_s=3.0))
        assert pool.fit(request(1)) == fit(request(1))
    finally:
        pool.close()


def test_threads_wait_for_a_free_place_and_closing_waits_for_them() -> None:
    pool = FitPool(1)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(pool.fit(request(1)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert len(found) == 2


def test_a_pool_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="workers=0: give at least 1"):
        FitPool(0)
