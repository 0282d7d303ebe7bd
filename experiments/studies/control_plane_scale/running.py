"""One daemon on so many made-up workers, watched from outside: /proc, its /metrics, its history."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

CORES = 2
START_S = 300.0  # the longest that a start may take
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Job:
    """So many targets, a cycle every `cycle_s`; counted for `counted_s` after `warm_s`."""

    targets: int
    cycle_s: float
    warm_s: float
    counted_s: float


def measured(job: Job) -> dict[str, Any]:
    """One row: cycle times (s), misfires, CPU (cores), memory (MiB) and history (bytes an hour)."""
    with tempfile.TemporaryDirectory() as name, _workers() as port:
        folder = Path(name)
        with _daemon(folder, port, job) as (pid, url):
            start_s = _until_cycling(url, job.targets)
            time.sleep(job.warm_s)
            before, began = _look(pid, url, folder), time.monotonic()
            time.sleep(job.counted_s)
            after, seconds = _look(pid, url, folder), time.monotonic() - began
    return {"targets": job.targets, "start_s": start_s} | _row(before, after, seconds, job)


@dataclass(frozen=True)
class _Look:
    cpu_s: float
    rss_bytes: int
    buckets: dict[float, float]
    cycles_s: float
    misfires: float
    failures: float
    history_bytes: int


def _row(before: _Look, after: _Look, seconds: float, job: Job) -> dict[str, Any]:
    counts = {le: after.buckets[le] - before.buckets.get(le, 0.0) for le in after.buckets}
    cycles = max(counts.values())
    if not cycles:
        raise RuntimeError(f"{job.targets} targets: no cycle has ended in {seconds:.0f} s")
    grown = after.history_bytes - before.history_bytes
    return {
        "counted_s": seconds,
        "cycles": cycles,
        "cycles_wanted": seconds / job.cycle_s * job.targets,
        "cycle_median_s": quantile(counts, 0.5),
        "cycle_p99_s": quantile(counts, 0.99),
        "cycle_mean_s": (after.cycles_s - before.cycles_s) / cycles,
        "misfires": after.misfires - before.misfires,
        "failures": after.failures - before.failures,
        "cpu_cores": (after.cpu_s - before.cpu_s) / seconds,
        "memory_mib": after.rss_bytes / 2**20,
        "history_bytes_per_target_hour": grown / seconds * 3600 / job.targets,
    }


def quantile(counts: dict[float, float], share: float) -> float:
    """From cumulative counts by upper bound, linear inside a bucket as PromQL does it."""
    bounds = sorted(counts)
    wanted, below, lower = share * counts[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= wanted:
            if bound == float("inf"):
                return lower
            inside = counts[bound] - below
            return lower + (bound - lower) * ((wanted - below) / inside if inside else 1.0)
        below, lower = counts[bound], bound
    return lower


@contextmanager
def _workers() -> Iterator[int]:
    command = [sys.executable, "-m", "experiments.studies.control_plane_scale.workers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@contextmanager
def _daemon(folder: Path, port: int, job: Job) -> Iterator[tuple[int, str]]:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        own = asked.getsockname()[1]
    targets = [
        {"name": f"t{n}", "url": f"http://127.0.0.1:{port}/w/{n}"} for n in range(job.targets)
    ]
    path = folder / "autotuner.yaml"
    config = {
        "history": f"sqlite:///{folder / 'history.sqlite3'}", "targets": targets,
        "cycle_s": job.cycle_s, "listen": {"port": own}, "log": {"level": "warning"},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "autotuner", "run", "--config", str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "daemon.log").open("w") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    os.sched_setaffinity(daemon.pid, sorted(os.sched_getaffinity(0))[:CORES])
    try:
        yield daemon.pid, f"http://127.0.0.1:{own}"
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()


def _until_cycling(url: str, targets: int) -> float:
    """Seconds until every target has had a cycle."""
    began = time.monotonic()
    while time.monotonic() - began < START_S:
        try:
            seen = requests.get(f"{url}/metrics", timeout=30).text
        except requests.ConnectionError:
            seen = ""
        counts = re.findall(r"^autotuner_cycle_seconds_count\{[^}]*\} (\S+)", seen, re.M)
        if sum(float(count) > 0 for count in counts) == targets:
            return time.monotonic() - began
        time.sleep(0.2)
    raise RuntimeError(f"{targets} targets had no cycle within {START_S:g} s")


def _look(pid: int, url: str, folder: Path) -> _Look:
    page = requests.get(f"{url}/metrics", timeout=60).text
    buckets: dict[float, float] = {}
    found = re.findall(r'^autotuner_cycle_seconds_bucket\{le="([^"]+)",[^}]*\} (\S+)', page, re.M)
    for le, count in found:
        buckets[float(le)] = buckets.get(float(le), 0.0) + float(count)
    tree = _tree(pid)
    return _Look(
        cpu_s=sum(_cpu_s(one) for one in tree),
        rss_bytes=sum(_rss(one) for one in tree),
        buckets=buckets,
        cycles_s=_total(page, "autotuner_cycle_seconds_sum"),
        misfires=_total(page, "autotuner_misfires_total"),
        failures=_total(page, "autotuner_cycle_failures_total"),
        history_bytes=_history_bytes(folder / "history.sqlite3"),
    )


def _history_bytes(path: Path) -> int:
    """Pages in use, those included that still are in the write-ahead log."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        [pages, free, size] = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def _total(page: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)", page, re.M))


def _tree(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _cpu_s(pid: int) -> float:
    """Its own, and that of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def _rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
