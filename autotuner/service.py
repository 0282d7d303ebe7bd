"""The live driver: calls each daemon's cycle on time; reloads and ends cleanly on a signal.

Late runs are merged into one and counted, never dropped in silence.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor as Threads
from concurrent.futures import wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FrameType
from typing import Any, Protocol, TypeVar

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from autotuner.config import Config
from autotuner.daemon import Daemon
from autotuner.domain.errors import AutotunerError
from autotuner.instruments import Instruments
from autotuner.systemd import Supervisor
from autotuner.turns import OVERDUE_S, Turns

log = structlog.get_logger()
R = TypeVar("R")

TICK_S = 1.0  # chosen: how late a reload may be heard
# All chosen. A cycle ends in seconds whatever its target does, since every wait in it is bounded;
# one that has not ended for STALL_S hangs. An end waits TURN_S for a cycle that is under way and
# GRACE_S for a slow job: with both it stays below the unit's TimeoutStopSec.
STALL_S = 90.0
TURN_S = 30.0
GRACE_S = 10.0
_STOPS_AT_ONCE = 32
_SPARE_THREADS = 512  # for targets that come later, by a reload or a takeover; made when needed


@dataclass(frozen=True)
class Job:
    """Something slow that runs beside the cycles; `apart`: it never waits for another job.

    `target`: whose it is; None where it serves all.
    """

    name: str
    every_s: float
    run: Callable[[float], object]
    apart: bool = False
    target: str | None = None


class Reloads(Protocol):
    """Takes a changed configuration over into a running service; `followers` hear of it."""

    followers: list[Callable[[Config], None]]

    def reload(self, service: Service) -> str:
        """What became of it, in a sentence; never raises for a configuration that is no good."""
        ...

    def told(self) -> Mapping[str, Any]:
        """What /health shows of the last reload; empty before the first."""
        ...


class Leads(Protocol):
    """Fills a service where this process leads, and empties it where another one does."""

    def start(self, service: Service) -> None:
        """Once, before the first `tend`; raises AutotunerError for what can't be started."""
        ...

    def tend(self, service: Service) -> None:
        """Now and then; never raises for a database that is away."""
        ...

    def leads(self) -> bool:
        """Whether the service's daemons and jobs run here."""
        ...

    def release(self) -> None:
        """Hands over, once all that was led has ended."""
        ...

    def told(self) -> Mapping[str, Any]:
        """What /health shows of it."""
        ...


@dataclass
class Service:
    """All daemons of this process on one scheduler; none where another process `leading` has."""

    daemons: Sequence[Daemon]
    jobs: Sequence[Job]
    instruments: Instruments
    cycle_s: float
    slow_jobs_at_once: int = 1
    closing: Sequence[Callable[[], None]] = ()
    last_ok: dict[str, float] = field(default_factory=dict)
    supervisor: Supervisor = field(default_factory=Supervisor)
    reloader: Reloads | None = None
    leading: Leads | None = None
    stall_s: float = STALL_S
    turn_s: float = TURN_S
    grace_s: float = GRACE_S
    sentences: dict[str, str] = field(default_factory=dict)
    _turns: dict[str, threading.Lock] = field(default_factory=dict, repr=False)
    _ended: dict[str, float] = field(default_factory=dict, repr=False)  # monotonic s
    _busy: set[str] = field(default_factory=set, repr=False)
    _ending: bool = field(default=False, repr=False)
    _scheduler: BackgroundScheduler | None = field(default=None, repr=False)
    _slow: Turns = field(init=False, repr=False)

    slow_overdue_s: float = OVERDUE_S

    def __post_init__(self) -> None:
        self._slow = Turns(self.slow_jobs_at_once, self.slow_overdue_s)

    def run(self, stopped: threading.Event | None = None) -> Collection[str]:
        """Runs until SIGTERM, SIGINT or `stopped`; then every incumbent is put back live.

        SIGHUP reloads. Returns the names of the slow jobs that did not end in time.
        """
        stopped, asked = stopped or threading.Event(), threading.Event()
        _hear_signals(stopped, asked)
        scheduler = self._scheduler = self._schedule()
        self._ended = dict.fromkeys((d.name for d in self.daemons), time.monotonic())
        if self.leading is not None:
            self.leading.start(self)
        scheduler.start()
        log.info("started", targets=[d.name for d in self.daemons], cycle_s=self.cycle_s)
        self.supervisor.ready(self.sentence())
        while not stopped.wait(TICK_S):
            if asked.is_set():
                asked.clear()
                self._reload()
            if self.leading is not None:
                self.leading.tend(self)
            self.supervisor.status(self.sentence(), alive=self.alive())
        self.supervisor.stopping("stopping: the incumbents are put back")
        # Its own limits bound the end: a cycle that hangs is given up.
        self._meanwhile(partial(self._end, scheduler), "stopping", lambda: True)
        return frozenset(self._busy)

    def alive(self) -> bool:
        """Whether no cycle hangs. One that failed did end, and a restart would not help it."""
        limit, now = max(5 * self.cycle_s, self.stall_s), time.monotonic()
        return all(now - self._ended.get(d.name, now) <= limit for d in self.daemons)

    def sentence(self) -> str:
        """The last word of every target."""
        if self.leading is not None and not self.leading.leads():
            return f"standing by; {self.leading.told()['leader'] or 'nobody'} leads"
        return "; ".join(f"{d.name}: {self.sentences.get(d.name, 'waiting')}" for d in self.daemons)

    def exchange(self, daemons: Sequence[Daemon], jobs: Sequence[Job], cycle_s: float) -> None:
        """Goes on with these daemons and jobs; those that stay are not touched.

        A daemon that leaves ends its test, with the incumbent live, before another takes its place.
        """
        scheduler = self._scheduler
        assert scheduler is not None, "only a running service is changed"
        leaving = [d for d in self.daemons if not any(d is one for one in daemons)]
        coming = [d for d in daemons if not any(d is one for one in self.daemons)]
        for daemon in leaving:
            scheduler.remove_job(_cycle_id(daemon))
        self.daemons = [d for d in self.daemons if not any(d is one for one in leaving)]
        self._stop(leaving, "its configuration was changed")
        if cycle_s != self.cycle_s:
            for daemon in self.daemons:
                scheduler.reschedule_job(_cycle_id(daemon), trigger="interval", seconds=cycle_s)
        self.daemons, self.cycle_s = daemons, cycle_s
        for daemon in coming:
            self.last_ok.setdefault(daemon.name, time.time())
            self._ended[daemon.name] = time.monotonic()
        self._add_cycles(scheduler, coming)
        for job in self.jobs:
            if not any(job is one for one in jobs):
                scheduler.remove_job(job.name)
        for job in jobs:
            if not any(job is one for one in self.jobs):
                self._add_job(scheduler, job)
        self.jobs = jobs

    def leave(self) -> None:
        """Another process leads: nothing more is begun here, and nothing is put back.

        What is under way ends by itself; the history refuses what it writes.
        """
        assert self._scheduler is not None, "only a running service is left"
        self._scheduler.remove_all_jobs()
        self.daemons, self.jobs = [], []

    def _reload(self) -> None:
        if self.reloader is None:
            log.warning("reload.refused", problem="this service was started without a file")
            return
        self.supervisor.reloading()
        reload = partial(self.reloader.reload, self)
        self.supervisor.ready(self._meanwhile(reload, "reloading", self.alive))

    def _meanwhile(self, work: Callable[[], R], status: str, alive: Callable[[], bool]) -> R:
        """What `work` returns; the watchdog is kept informed, since targets may be slow then."""
        with Threads(1) as threads:
            done = threads.submit(work)
            while wait([done], timeout=TICK_S).not_done:
                self.supervisor.status(status, alive=alive())
            return done.result()

    def _end(self, scheduler: BackgroundScheduler) -> None:
        """Incumbents first: no slow job, however long, keeps one from being put back."""
        scheduler.pause()
        self._ending = True
        self._stop(self.daemons, "the daemon was stopped")
        end = time.monotonic() + self.grace_s
        scheduler.shutdown(wait=False)
        self._slow.close()
        while self._busy and time.monotonic() < end:
            time.sleep(0.05)
        if self._busy:
            log.warning("stopping.abandoned", jobs=sorted(self._busy))
        if self.leading is not None:
            self.leading.release()
        for close in self.closing:
            close()

    def _stop(self, daemons: Sequence[Daemon], why: str) -> None:
        """Side by side, so that many targets that hang take no longer than one."""
        if daemons:
            with Threads(min(_STOPS_AT_ONCE, len(daemons))) as threads:
                list(threads.map(lambda daemon: self._stop_one(daemon, why), daemons))

    def _stop_one(self, daemon: Daemon, why: str) -> None:
        turn = self.turn(daemon.name)
        if not turn.acquire(timeout=self.turn_s):
            log.error("stopping.gave_up", target=daemon.name, problem="its cycle does not end")
            return
        try:
            log.info("stopping", target=daemon.name, result=daemon.stop(time.time(), why))
        except AutotunerError as problem:
            log.error("stopping.failed", target=daemon.name, problem=str(problem))
        except Exception:
            # The other targets' incumbents are to be put back all the same.
            log.exception("stopping.crashed", target=daemon.name)
        finally:
            turn.release()

    def turn(self, target: str) -> threading.Lock:
        """Held by a cycle of the target from its beginning to its end."""
        return self._turns.setdefault(target, threading.Lock())

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Well while every target's last good cycle is recent (5 cycles, at least 30 s)."""
        limit = max(5 * self.cycle_s, 30.0)
        now = time.time()
        ages = {d.name: now - self.last_ok.get(d.name, 0.0) for d in self.daemons}
        shown = {name: round(age, 1) if age < now / 2 else None for name, age in ages.items()}
        told: dict[str, Any] = {}
        told |= {"reload": self.reloader.told()} if self.reloader and self.reloader.told() else {}
        told |= self.leading.told() if self.leading is not None else {}
        return all(age <= limit for age in ages.values()), {"seconds_since_cycle": shown, **told}

    def _schedule(self) -> BackgroundScheduler:
        # A thread per daemon and others for the slow jobs: a fit never delays a cycle. A job apart
        # has one too, since a receiver that is slow must not hold up what others are sent. Slow
        # ones wait for their turn in threads, so that one that is stuck can be passed by.
        apart = sum(job.apart for job in self.jobs)
        scheduler = BackgroundScheduler(
            executors={
                "default": ThreadPoolExecutor(len(self.daemons) + _SPARE_THREADS),
                "slow": ThreadPoolExecutor(len(self.jobs) - apart + _SPARE_THREADS),
                "apart": ThreadPoolExecutor(apart + _SPARE_THREADS),
            },
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        scheduler.add_listener(self._late, EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED)
        self._add_cycles(scheduler, self.daemons)
        for job in self.jobs:
            self._add_job(scheduler, job)
        return scheduler

    def _add_cycles(self, scheduler: BackgroundScheduler, daemons: Sequence[Daemon]) -> None:
        """Evenly over the cycle's interval: all at once, many targets would wait for each other."""
        now = datetime.now(UTC)
        for place, daemon in enumerate(daemons, 1):
            scheduler.add_job(
                self._cycle,
                "interval",
                args=[daemon],
                seconds=self.cycle_s,
                start_date=now + timedelta(seconds=self.cycle_s * place / len(daemons)),
                id=_cycle_id(daemon),
            )

    def _add_job(self, scheduler: BackgroundScheduler, job: Job) -> None:
        lane = "apart" if job.apart else "slow"
        scheduler.add_job(
            self._job, "interval", args=[job], seconds=job.every_s, id=job.name, executor=lane
        )

    def _cycle(self, daemon: Daemon) -> None:
        with self.turn(daemon.name), structlog.contextvars.bound_contextvars(target=daemon.name):
            if not self._ending and any(daemon is one for one in self.daemons):
                self._run_cycle(daemon)

    def _run_cycle(self, daemon: Daemon) -> None:
        began = time.time()
        try:
            self.sentences[daemon.name] = daemon.run_cycle(began)
            self.last_ok[daemon.name] = time.time()
        except AutotunerError as problem:
            self.instruments.failures.labels(daemon.name).inc()
            self.sentences[daemon.name] = f"the cycle failed: {problem}"
            log.error("cycle.failed", target=daemon.name, problem=str(problem))
        except Exception:
            # The loop must outlive a fault of ours; /health turns bad when it keeps happening.
            self.instruments.failures.labels(daemon.name).inc()
            log.exception("cycle.crashed", target=daemon.name)
        finally:
            self._ended[daemon.name] = time.monotonic()
            self.instruments.cycle_seconds.labels(daemon.name).observe(time.time() - began)

    def _job(self, job: Job) -> None:
        about = {"job": job.name} | ({"target": job.target} if job.target else {})
        try:
            with (
                structlog.contextvars.bound_contextvars(**about),
                nullcontext(True) if job.apart else self._slow.turn(job.name) as mine,
            ):
                if mine and any(job is one for one in self.jobs):
                    self._busy.add(job.name)
                    job.run(time.time())
        except AutotunerError as problem:
            log.error("job.failed", **about, problem=str(problem))
        finally:
            self._busy.discard(job.name)

    def _late(self, event: JobEvent) -> None:
        self.instruments.misfires.labels(event.job_id).inc()


def _cycle_id(daemon: Daemon) -> str:
    return f"cycle:{daemon.name}"


def _hear_signals(stopped: threading.Event, reload: threading.Event) -> None:
    def heard(signum: int, _frame: FrameType | None) -> None:
        log.info("signal", signal=signal.Signals(signum).name)
        (reload if signum == signal.SIGHUP else stopped).set()

    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, heard)
