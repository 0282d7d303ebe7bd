"""What a worker looks like from outside at a moment: memory of its processes, queue, KV cache."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

PROC = Path("/proc")


@dataclass(frozen=True)
class Sample:
    """`at_s` from the watch's beginning; resident memory in MiB, of the engine side all processes
    that the front has started; `kv_usage` 0 to 1.
    """

    at_s: float
    front_mib: float
    engine_mib: float
    running: float
    waiting: float
    kv_usage: float


@dataclass(frozen=True)
class Totals:
    """Requests by outcome, and preemptions, since the worker's start."""

    outcomes: dict[str, float]
    preemptions: float


class Watch:
    """Looks at one worker: its HTTP address and the process id of its front."""

    def __init__(self, url: str, front_pid: int) -> None:
        self._url, self._front_pid = url, front_pid
        self._began = time.monotonic()

    async def sample(self, session: aiohttp.ClientSession) -> Sample:
        values = await self._metrics(session)
        children = sum(resident_mib(pid) for pid in descendants(self._front_pid))
        return Sample(
            at_s=time.monotonic() - self._began,
            front_mib=resident_mib(self._front_pid),
            engine_mib=children,
            running=_total(values, "worker:num_requests_running"),
            waiting=_total(values, "worker:num_requests_waiting"),
            kv_usage=_total(values, "worker:kv_cache_usage_perc"),
        )

    async def totals(self, session: aiohttp.ClientSession) -> Totals:
        values = await self._metrics(session)
        outcomes: dict[str, float] = {}
        for name, labels, value in values:
            if name == "worker:requests_total":
                outcome = labels["outcome"]
                outcomes[outcome] = outcomes.get(outcome, 0.0) + value
        return Totals(outcomes, _total(values, "worker:num_preemptions_total"))

    async def _metrics(
        self, session: aiohttp.ClientSession
    ) -> list[tuple[str, dict[str, str], float]]:
        async with session.get(f"{self._url}/metrics") as response:
            response.raise_for_status()
            text = await response.text()
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]


def resident_mib(pid: int) -> float:
    """Resident memory of a process; 0 once it is gone."""
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    parents = dict(_parents())
    found, level = [], [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found


def slope_mib_per_h(at_s: Sequence[float], mib: Sequence[float]) -> float:
    """The median slope over all pairs of samples (Theil-Sen): a single step moves it little."""
    at, values = np.asarray(at_s), np.asarray(mib)
    first, second = np.triu_indices(len(at), 1)
    return float(np.median((values[second] - values[first]) / (at[second] - at[first]))) * 3600


def _parents() -> Iterator[tuple[int, int]]:
    for path in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything: what follows the last one is regular.
            after_name = path.read_text().rpartition(")")[2].split()
            yield int(path.parent.name), int(after_name[1])


def _total(values: Iterable[tuple[str, dict[str, str], float]], name: str) -> float:
    return sum(value for found, _, value in values if found == name)
