"""The live driver: calls each daemon's cycle on time, and ends cleanly on a signal.

Late runs are merged into one and counted, never dropped in silence.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from autotuner.daemon import Daemon
from autotuner.domain.errors import AutotunerError
from autotuner.instruments import Instruments

log = structlog.get_logger()


@dataclass(frozen=True)
class Job:
    """Something slow that runs beside the cycles; `apart`: it never waits for another job."""

    name: str
    every_s: float
    run: Callable[[float], object]
    apart: bool = False


@dataclass
class Service:
    """All daemons of this process on one scheduler."""

    daemons: Sequence[Daemon]
    jobs: Sequence[Job]
    instruments: Instruments
    cycle_s: float
    slow_jobs_at_once: int = 1
    closing: Sequence[Callable[[], None]] = ()
    last_ok: dict[str, float] = field(default_factory=dict)

    def run(self, stopped: threading.Event | None = None) -> None:
        """Runs until SIGTERM, SIGINT or `stopped`; then every incumbent is put back live."""
        stopped = stopped or threading.Event()
        _stop_on_signals(stopped)
        scheduler = self._schedule()
        scheduler.start()
        log.info("started", targets=[d.name for d in self.daemons], cycle_s=self.cycle_s)
        stopped.wait()
        scheduler.shutdown(wait=True)
        for daemon in self.daemons:
            log.info("stopping", target=daemon.name, result=daemon.stop(time.time()))
        for close in self.closing:
            close()

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Well while every target's last good cycle is recent (5 cycles, at least 30 s)."""
        limit = max(5 * self.cycle_s, 30.0)
        now = time.time()
        ages = {d.name: now - self.last_ok.get(d.name, 0.0) for d in self.daemons}
        shown = {name: round(age, 1) if age < now / 2 else None for name, age in ages.items()}
        return all(age <= limit for age in ages.values()), {"seconds_since_cycle": shown}

    def _schedule(self) -> BackgroundScheduler:
        # A thread per daemon and others for the slow jobs: a fit never delays a cycle. A job apart
        # has one too, since a receiver that is slow must not hold up what others are sent.
        apart = sum(job.apart for job in self.jobs)
        scheduler = BackgroundScheduler(
            executors={
                "default": ThreadPoolExecutor(len(self.daemons)),
                "slow": ThreadPoolExecutor(self.slow_jobs_at_once),
                "apart": ThreadPoolExecutor(max(1, apart)),
            },
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        scheduler.add_listener(self._late, EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED)
        for daemon in self.daemons:
            scheduler.add_job(
                self._cycle,
                "interval",
                args=[daemon],
                seconds=self.cycle_s,
                id=f"cycle:{daemon.name}",
            )
        for job in self.jobs:
            scheduler.add_job(
                self._job,
                "interval",
                args=[job],
                seconds=job.every_s,
                id=job.name,
                executor="apart" if job.apart else "slow",
            )
        return scheduler

    def _cycle(self, daemon: Daemon) -> None:
        began = time.time()
        try:
            daemon.run_cycle(began)
            self.last_ok[daemon.name] = time.time()
        except AutotunerError as problem:
            self.instruments.failures.labels(daemon.name).inc()
            log.error("cycle.failed", target=daemon.name, problem=str(problem))
        except Exception:
            # The loop must outlive a fault of ours; /health turns bad when it keeps happening.
            self.instruments.failures.labels(daemon.name).inc()
            log.exception("cycle.crashed", target=daemon.name)
        finally:
            self.instruments.cycle_seconds.labels(daemon.name).observe(time.time() - began)

    def _job(self, job: Job) -> None:
        try:
            job.run(time.time())
        except AutotunerError as problem:
            log.error("job.failed", job=job.name, problem=str(problem))

    def _late(self, event: JobEvent) -> None:
        self.instruments.misfires.labels(event.job_id).inc()


def _stop_on_signals(stopped: threading.Event) -> None:
    def stop(signum: int, _frame: FrameType | None) -> None:
        log.info("signal", signal=signal.Signals(signum).name)
        stopped.set()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
