"""One target that hangs, raises or floods does not hold up the cycles of the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from autotuner.bootstrap import build_service
from autotuner.config import parse_config
from autotuner.history.store import open_history
from autotuner.service import Job, Service
from tests.integration.daemon.processes import until
from tests.integration.isolation.faulty import Fault, FaultyWorker

pytestmark = pytest.mark.process

PATIENCE_S = 60.0  # of the daemon with each target: what hangs, hangs to the end of the test


@contextmanager
def serving(
    folder: Path, workers: dict[str, FaultyWorker], overdue_s: float = 600.0
) -> Iterator[Service]:
    """A service of all targets that runs until the block is left."""
    config = parse_config(
        {
            "history": f"sqlite:///{folder / 'history.sqlite3'}",
            "cycle_s": 0.2,
            "targets": [
                {"name": name, "url": worker.url, "timeout_s": PATIENCE_S, "mode": "advisory"}
                for name, worker in workers.items()
            ],
        }
    )
    history = open_history(config.history)
    service = replace(build_service(config, history), slow_overdue_s=overdue_s)
    stopped = threading.Event()
    running = threading.Thread(target=service.run, args=[stopped])
    running.start()
    try:
        yield service
    finally:
        for worker in workers.values():
            worker.close()
        stopped.set()
        running.join(timeout=120)
        history.close()
    assert not running.is_alive()


def cycles(service: Service, target: str) -> float:
    labels = {"target": target}
    value = service.instruments.registry.get_sample_value("autotuner_cycle_seconds_count", labels)
    return value or 0.0


def test_faults_stay_with_their_target(tmp_path: Path) -> None:
    workers = {fault.value: FaultyWorker(fault) for fault in Fault}
    with serving(tmp_path, workers) as service:
        until(lambda: all(cycles(service, name) > 1 for name in workers))
        for worker in workers.values():
            worker.wrong.set()
        until(lambda: "can't be read" in service.sentences["raises"])
        until(lambda: "longer than" in service.sentences["floods"])
        # What comes now comes while one of them hangs: it may end one more cycle at most.
        hung, well = cycles(service, "hangs"), cycles(service, "none")
        until(lambda: cycles(service, "none") >= well + 20)
        assert cycles(service, "hangs") <= hung + 1
        assert "can't be read" not in service.sentences["none"]


def test_a_slow_job_that_is_stuck_is_passed_by(tmp_path: Path) -> None:
    stuck, ran, over = threading.Event(), threading.Event(), threading.Event()

    def hang(_: float) -> None:
        stuck.set()
        over.wait(120)

    def run(_: float) -> None:
        ran.set()

    with serving(tmp_path, {"none": FaultyWorker(Fault.NONE)}, overdue_s=0.5) as service:
        kept = list(service.jobs)
        service.exchange(service.daemons, [*kept, Job("stuck", 0.1, hang)], service.cycle_s)
        assert stuck.wait(60)
        more = [*service.jobs, Job("other", 0.1, run)]
        service.exchange(service.daemons, more, service.cycle_s)
        assert ran.wait(60)
        assert not over.is_set()
        over.set()
